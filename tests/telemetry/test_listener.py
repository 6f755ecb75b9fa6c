"""The listener apart: it answers whoever else is slow, waits for a port that is taken, and tells where it fails."""

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from telemetry.address import TelemetryAddress
from telemetry.health import STANDS_STILL, Check, Health
from telemetry.listener import MOST_AT_ONCE, Listener
from telemetry.page import Page, text
from tests.rig.processes import free_port, listening, wait_until


def broken() -> Page:
    raise ValueError("odd")


@pytest.fixture
def port() -> Iterator[int]:
    found = free_port()
    listener = Listener(TelemetryAddress("127.0.0.1", found), {"/a": lambda: text(200, "a"), "/broken": broken}).start()
    wait_until(lambda: listening(found), "it listens")
    yield found
    listener.close()


def ask(port: int, path: str, method: str = "GET") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request(method, path)
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def test_pages_by_path_whatever_the_query_and_a_page_that_fails_fails_alone(port: int) -> None:
    assert ask(port, "/a?x=1") == (200, b"a\n")
    assert ask(port, "/a", "HEAD") == (200, b"")
    assert ask(port, "/b")[0] == 404
    assert ask(port, "/a", "POST")[0] == 501
    assert ask(port, "/broken")[0] == 500
    assert ask(port, "/a")[0] == 200


def test_clients_that_say_nothing_keep_no_probe_out(port: int) -> None:
    with ExitStack() as opened:
        for _ in range(3 * MOST_AT_ONCE):
            with suppress(OSError):
                opened.enter_context(socket.create_connection(("127.0.0.1", port), 5))
        assert ask(port, "/a") == (200, b"a\n")


def test_a_machine_that_has_no_thread_left_answers_its_probes(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    for _ in range(2):
        assert ask(port, "/a") == (200, b"a\n")


def test_a_port_that_another_process_has_is_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        found = other.getsockname()[1]
        listener = Listener(TelemetryAddress("127.0.0.1", found), {"/a": lambda: text(200, "a")}).start()
    wait_until(lambda: listening(found), "it listens")
    assert ask(found, "/a")[0] == 200
    listener.close()
    wait_until(lambda: not listening(found), "it gave the port free")


@pytest.mark.parametrize("told", ["127.0.0.1:7441", "[::1]:7441", "unix:/run/kuik/telemetry.sock", "name:1"])
def test_an_address_is_shown_as_it_is_written(told: str) -> None:
    assert str(TelemetryAddress.parse(told)) == told


@pytest.mark.parametrize("told", ["", "7441", ":7441", "name:", "name:x", "name:70000"])
def test_what_is_no_address_is_refused_with_what_to_write(told: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        TelemetryAddress.parse(told)


def test_a_socket_file_that_was_left_over_is_taken(tmp_path: Path) -> None:
    address = TelemetryAddress(path=tmp_path / "a.sock")
    address.listen().close()
    with address.listen(), address.connect(1):
        pass


def test_a_process_starts_serves_drains_and_may_stand_still() -> None:
    now, draining = [0.0], [False]
    health = Health("proxy", lambda: now[0])

    def pages() -> tuple[str, int, int]:
        return health.state, health.live().status, health.ready().status

    assert pages() == ("starting", 200, 503)
    health.serving(lambda: draining[0])
    assert pages() == ("serving", 200, 200)
    now[0] = STANDS_STILL
    assert pages() == ("standing still", 503, 503)
    health.beat()
    assert pages() == ("serving", 200, 200)
    health.check("disk", lambda: Check(degraded=True, message="full"))
    assert pages() == ("serving", 200, 200)
    assert b'"message": "full"' in health.ready().body
    health.check("watch", lambda: Check(ready=False))
    assert pages() == ("serving", 200, 503)
    draining[0] = True
    assert pages() == ("draining", 200, 503)
