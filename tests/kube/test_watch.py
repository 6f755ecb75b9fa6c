"""A watch against a server that misbehaves in each way that the protocol allows, and some that it does not."""

import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest
from kubernetes import client

from kube.client import Api
from kube.paths import KINDS
from kube.watch import Watch, trimmed

Script = list[Callable[["_Server"], None]]


def obj(name: str, version: int, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "resourceVersion": str(version), "labels": labels}}


class _Server(http.server.BaseHTTPRequestHandler):
    """Answers each request by the next step of a script; the last step is repeated."""

    script: ClassVar[Script] = []
    asked: ClassVar[list[dict[str, str]]] = []
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        query = {key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()}
        self.asked.append(query)
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        step(self)

    def whole(self, body: Any, status: int = 200) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_arguments: object) -> None:
        """Keep quiet."""


def listing(version: int, *items: dict[str, Any], **meta: Any) -> Callable[[_Server], None]:
    document = {"items": list(items), "metadata": {"resourceVersion": str(version), **meta}}
    return lambda server: server.whole(document)


def refusing(status: int) -> Callable[[_Server], None]:
    return lambda server: server.whole({"kind": "Status", "message": "no"}, status)


def events(*said: Any, stay: float = 0.0) -> Callable[[_Server], None]:
    """A watch that says these events (bytes go out as they are), stays open, and ends."""

    def answer(server: _Server) -> None:
        server.send_response(200)
        server.send_header("Connection", "close")
        server.end_headers()
        for one in said:
            raw = one if isinstance(one, bytes) else json.dumps({"type": one[0], "object": one[1]}).encode()
            server.wfile.write(raw + b"\n")
            server.wfile.flush()
        time.sleep(stay)
        server.close_connection = True

    return answer


@pytest.fixture
def watching() -> Iterator[Callable[..., Watch]]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    started: list[Watch] = []

    def start(*script: Callable[[_Server], None]) -> Watch:
        _Server.script[:], _Server.asked[:] = list(script), []
        settings = client.Configuration()
        settings.host = f"http://127.0.0.1:{server.server_address[1]}"
        settings.retries = False
        started.append(Watch(Api(client.ApiClient(settings)), KINDS["Namespace"], seconds=2).start())
        return started[-1]

    yield start
    for one in started:
        one.stop()
    server.shutdown()
    server.server_close()


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def names(watch: Watch) -> set[str]:
    return {one["metadata"]["name"] for one in watch.objects()}


def test_events_change_what_was_listed(watching: Callable[..., Watch]) -> None:
    told = events(("ADDED", obj("c", 8)), ("MODIFIED", obj("a", 9, team="x")), ("DELETED", obj("b", 10)), stay=1)
    watch = watching(listing(7, obj("a", 1), obj("b", 2)), told)
    until(lambda: names(watch) == {"a", "c"})
    found = watch.get("a")
    assert found
    assert found["metadata"]["labels"] == {"team": "x"}
    assert (found["apiVersion"], found["kind"]) == ("v1", "Namespace")
    assert watch.synced
    assert _Server.asked[1]["resourceVersion"] == "7"


def test_pages_make_one_list(watching: Callable[..., Watch]) -> None:
    watch = watching(listing(7, obj("a", 1), **{"continue": "more"}), listing(7, obj("b", 2)), events(stay=1))
    until(lambda: watch.synced)
    assert names(watch) == {"a", "b"}
    assert _Server.asked[1]["continue"] == "more"


def test_a_bookmark_is_where_the_next_watch_begins(watching: Callable[..., Watch]) -> None:
    watch = watching(listing(7, obj("a", 1)), events(("BOOKMARK", obj("", 99))), events(stay=1))
    until(lambda: len(_Server.asked) >= 3)
    assert _Server.asked[2]["resourceVersion"] == "99"
    assert names(watch) == {"a"}


@pytest.mark.parametrize(
    "broken",
    [
        events(("ERROR", {"kind": "Status", "code": 410, "message": "too old"})),
        refusing(410),
        events(b"<html>not json"),
        events(b"[" * 100000),
        events(b"null"),
        events(("ADDED", {"metadata": {}})),
        events(("ADDED", {"metadata": {"resourceVersion": "8"}})),
        events(("SURPRISE", obj("z", 8))),
    ],
    ids=["gone event", "gone status", "html", "deep", "null", "no version", "no name", "odd type"],
)
def test_what_cannot_be_followed_is_listed_again(
    watching: Callable[..., Watch], broken: Callable[[_Server], None]
) -> None:
    watch = watching(listing(7, obj("a", 1)), broken, listing(20, obj("b", 2)), events(stay=1))
    until(lambda: names(watch) == {"b"})
    until(lambda: len(_Server.asked) >= 4)
    assert _Server.asked[3]["resourceVersion"] == "20"


@pytest.mark.parametrize("broken", [refusing(500), refusing(403), events(b'{"type": "ADD')], ids=["500", "403", "cut"])
def test_what_is_known_stays_while_the_server_does_not_answer(
    watching: Callable[..., Watch], broken: Callable[[_Server], None]
) -> None:
    watch = watching(listing(7, obj("a", 1)), broken)
    until(lambda: len(_Server.asked) >= 4)
    assert names(watch) == {"a"}
    assert watch.synced


def test_it_is_not_synced_before_a_whole_list_was_read(watching: Callable[..., Watch]) -> None:
    watch = watching(listing(7, obj("a", 1), **{"continue": "more"}), refusing(500))
    until(lambda: len(_Server.asked) >= 3)
    assert not watch.synced
    assert watch.objects() == []


def test_a_server_that_always_fails_is_asked_less_and_less(watching: Callable[..., Watch]) -> None:
    watching(refusing(500))
    time.sleep(2.5)
    assert 2 <= len(_Server.asked) <= 6


def test_it_ends_in_the_middle_of_a_watch(watching: Callable[..., Watch]) -> None:
    watch = watching(listing(7), events(stay=5))
    until(lambda: len(_Server.asked) == 2)
    time.sleep(0.1)
    begun = time.monotonic()
    watch.stop()
    assert time.monotonic() - begun < 1


def test_managed_fields_are_not_kept() -> None:
    kept = trimmed({"metadata": {"name": "a", "managedFields": [{}]}, "spec": {}})
    assert kept == {"metadata": {"name": "a"}, "spec": {}}
