"""The recorder against a double of the API server."""

import logging
import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from kube.client import Api, KubernetesError
from kube.events import NORMAL, Involved, Recorder, Said, event

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
WEB = Involved("apps/v1", "Deployment", "web", "team")


def said(at: int = 0, about: Involved = WEB) -> Said:
    return Said(f"web.{at}", NORMAL, "Cached", "it is", about)


class Double:
    """Takes Events; `create` and `get` may be replaced."""

    def __init__(self) -> None:
        self.posted: list[tuple[str, dict[str, Any]]] = []
        self.asked: list[str] = []
        self.refuse: Callable[[], None] = lambda: None
        self.found: Callable[[], dict[str, Any]] = lambda: {"metadata": {"uid": "u-1"}}

    def create(self, path: str, obj: dict[str, Any]) -> dict[str, Any]:
        self.refuse()
        self.posted.append((path, obj))
        return obj

    def get(self, path: str) -> dict[str, Any]:
        self.asked.append(path)
        return self.found()


def refusal(status: int, message: str = "no") -> Callable[[], Any]:
    def refuse() -> None:
        raise KubernetesError(message, status)

    return refuse


def recorder(double: Double, size: int = 100) -> Recorder:
    return Recorder(cast("Api", double), size)


def until(done: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not done():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_an_event_of_a_cluster_scoped_object_is_kept_in_default() -> None:
    made = event(said(about=Involved("kuik.dev/v1alpha1", "CachedImage", "x", uid="u")), NOW, "kuik-hooks-1")
    assert made["metadata"] == {"name": "web.0", "namespace": "default"}
    about = {"apiVersion": "kuik.dev/v1alpha1", "kind": "CachedImage", "name": "x", "uid": "u"}
    assert made["involvedObject"] == about
    times = (made["firstTimestamp"], made["lastTimestamp"], made["count"])
    assert times == ("2026-03-01T12:00:00Z", "2026-03-01T12:00:00Z", 1)


def test_a_workload_is_named_with_its_uid() -> None:
    double = Double()
    recorder(double).say([said()])
    until(lambda: double.posted)
    path, posted = double.posted[0]
    assert path == "api/v1/namespaces/team/events"
    assert double.asked == ["apis/apps/v1/namespaces/team/deployments/web"]
    assert posted["involvedObject"]["uid"] == "u-1"


@pytest.mark.parametrize("status", [403, 404, 0])
def test_a_workload_that_cannot_be_read_is_named_without(status: int) -> None:
    double = Double()
    double.found = refusal(status)
    recorder(double).say([said()])
    until(lambda: double.posted)
    assert "uid" not in double.posted[0][1]["involvedObject"]


@pytest.mark.parametrize(
    ("status", "message", "logged"),
    [
        (409, "it exists", False),
        (404, "no such namespace", False),
        (403, "unable to create new content in namespace team because it is being terminated", False),
        (403, "unable to create new content in namespace te", False),
        (403, "cannot create resource events", True),
        (500, "etcd", True),
        (0, "no answer", True),
    ],
)
def test_refusals(status: int, message: str, logged: bool, caplog: pytest.LogCaptureFixture) -> None:
    double = Double()
    double.refuse = refusal(status, message)
    writing = recorder(double)
    with caplog.at_level(logging.INFO):
        writing.say([said(1), said(2)])
        until(lambda: len(double.asked) == 2)
        double.refuse = lambda: None
        writing.say([said(3)])
        until(lambda: double.posted)
    assert [message in line for line in caplog.messages] == [True] * logged, "logged once, and the thread goes on"


def test_the_thread_outlives_what_nobody_thought_of(caplog: pytest.LogCaptureFixture) -> None:
    double = Double()

    def refuse() -> None:
        double.refuse = lambda: None
        raise RuntimeError("odd")

    double.refuse = refuse
    recorder(double).say([said(1), said(2)])
    until(lambda: double.posted)
    assert "Event web.1 was not written" in caplog.text


def test_a_slow_api_server_makes_nobody_wait_and_what_is_too_much_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    double, gate, asked = Double(), threading.Event(), threading.Event()

    def slow() -> None:
        asked.set()
        gate.wait(30)

    double.refuse = slow
    writing = recorder(double, size=10)
    writing.say([said(0)])
    assert asked.wait(30)  # from here on nothing leaves the queue
    writing.say([said(at) for at in range(1, 500)])
    assert not gate.is_set()
    assert not double.posted
    assert sum("dropped" in line for line in caplog.messages) == 1
    gate.set()
    until(lambda: len(double.posted) >= 10)
    assert len(double.posted) <= 11


def test_a_fork_has_a_thread_of_its_own() -> None:
    double = Double()
    writing = recorder(double)
    writing.say([said(1)])
    until(lambda: double.posted)
    child = os.fork()
    if child == 0:
        writing.say([said(2)])
        for _ in range(500):
            if len(double.posted) == 2:
                os._exit(0)
            time.sleep(0.01)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0


def test_what_waits_is_written_before_the_process_ends() -> None:
    double = Double()
    double.refuse = lambda: time.sleep(0.02)
    writing = recorder(double)
    assert writing.flush(0) == 0, "nothing was ever said"
    writing.say([said(at) for at in range(5)])
    assert writing.flush(30) == 0
    assert len(double.posted) == 5


def test_no_end_of_a_process_waits_for_an_api_server_that_does_not_answer() -> None:
    double, gate = Double(), threading.Event()

    def refuse() -> None:
        gate.wait(30)

    double.refuse = refuse
    writing = recorder(double)
    writing.say([said(at) for at in range(3)])
    assert writing.flush(0.05) == 3
    gate.set()
    assert writing.flush(30) == 0
