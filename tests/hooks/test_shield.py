"""The client of the shield's facts: what it takes for known, and that all else is Unknown, in time."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hooks.facts import Context, ImageFacts, Known, Proof, Questions, Unknown
from hooks.observe import Observer, settings_from
from hooks.shield import Shield
from tests.rig.facts import TOKEN, Facts

IMAGE = "reg.example.com/app:1"
DIGEST = "sha256:" + "ab" * 32
BEFORE = Context(datetime(2026, 3, 1, tzinfo=UTC))


@pytest.fixture
def double() -> Iterator[Facts]:
    facts = Facts().start()
    yield facts
    facts.stop()


def raw(document: Any) -> Iterator[str]:
    """A server that gives every request this document."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                peer, _ = server.accept()
            except OSError:
                return
            with peer:
                peer.recv(65536)
                peer.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + body)

    threading.Thread(target=serve, daemon=True).start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}"
    server.close()


def test_what_the_shield_knows_is_known(double: Facts) -> None:
    shield = Shield(double.url, TOKEN)
    double.private(IMAGE, [("b", "two"), ("a", "one")])
    double.points(IMAGE, DIGEST)
    proof = Proof("private", frozenset({("a", "one"), ("b", "two")}))
    assert shield.facts(IMAGE) == ImageFacts(Known(proof), Known(DIGEST))
    double.public(IMAGE)
    double.gone(IMAGE)
    assert shield.facts(IMAGE) == ImageFacts(Known(Proof("public")), Known(None))
    double.forget(IMAGE)
    nothing = shield.facts(IMAGE)
    assert isinstance(nothing.access, Unknown)
    assert isinstance(nothing.upstream, Unknown)


def test_a_wrong_token_makes_nothing_known(double: Facts) -> None:
    double.public(IMAGE)
    assert isinstance(Shield(double.url, "other").facts(IMAGE).access, Unknown)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"null",
        [],
        {"access": {"visibility": "public"}, "upstream": {"digest": DIGEST}},
        {"image": "reg.example.com/other:1", "access": {"visibility": "public"}, "upstream": {"digest": DIGEST}},
        {"image": IMAGE, "access": "public", "upstream": DIGEST},
        {"image": IMAGE, "access": {"visibility": "Public"}, "upstream": {"digest": "sha256:ab"}},
        {"image": IMAGE, "access": {"visibility": "private"}, "upstream": {"gone": "yes"}},
        {"image": IMAGE, "access": {"visibility": "private", "secrets": ["a/b"]}, "upstream": {"gone": 1}},
        {"image": IMAGE, "access": {"visibility": "private", "secrets": [{"namespace": "a"}]}},
        {"image": IMAGE, "access": {"visibility": "private", "secrets": [{"namespace": "a", "secret": "x" * 254}]}},
        {"image": IMAGE, "upstream": {"gone": True, "digest": DIGEST + "0"}},
        {"image": IMAGE, "access": {"visibility": "private", "secrets": [{"namespace": "a", "secret": "b"}] * 1001}},
        b'{"image": "reg.example.com/app:1", "access": {"visibility": "public"}' + b" " * 600_000 + b"}",
    ],
)
def test_what_is_not_understood_is_unknown(document: Any) -> None:
    for url in raw(document):
        facts = Shield(url).facts(IMAGE)
        assert isinstance(facts.access, Unknown)
        assert isinstance(facts.upstream, Unknown)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["public", "private", DIGEST]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["visibility", "secrets", "namespace", "digest", "gone"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(json_values, json_values)
def test_no_answer_is_taken_for_more_than_it_says(access: Any, upstream: Any) -> None:
    class Said(Shield):
        def _get(self, path: str, most: int, replica: str = "") -> tuple[int, bytes]:
            return 200, json.dumps({"image": IMAGE, "access": access, "upstream": upstream}).encode()

    facts = Said("http://shield:1").facts(IMAGE)
    if isinstance(facts.access, Known):
        assert access["visibility"] == facts.access.value.visibility
    if isinstance(facts.upstream, Known):
        assert upstream.get("gone") is True or upstream["digest"] == facts.upstream.value


def test_a_server_that_sends_byte_after_byte_costs_the_timeout_and_no_more() -> None:
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        peer, _ = server.accept()
        with peer:
            peer.recv(65536)
            peer.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
            for _ in range(40):
                try:
                    peer.sendall(b" ")
                except OSError:
                    return
                time.sleep(0.05)

    threading.Thread(target=serve, daemon=True).start()
    begun = time.monotonic()
    facts = Shield(f"http://127.0.0.1:{server.getsockname()[1]}", timeout=0.2).facts(IMAGE)
    assert isinstance(facts.access, Unknown)
    assert time.monotonic() - begun < 1
    server.close()


def test_the_edge_asks_only_what_a_stage_asked_for(double: Facts) -> None:
    double.public(IMAGE)
    observer = Observer(settings_from({}), Shield(double.url, TOKEN))
    assert observer.gather(Questions(), BEFORE) is BEFORE
    assert double.asked == []
    assert observer.gather(Questions(image=IMAGE), BEFORE).image.access == Known(Proof("public"))
    assert double.asked == [IMAGE]
    assert Observer(settings_from({})).gather(Questions(image=IMAGE), BEFORE).image == ImageFacts()


def test_a_dead_shield_makes_nothing_known() -> None:
    observer = Observer(settings_from({}), Shield("http://127.0.0.1:1", TOKEN))
    facts = observer.gather(Questions(image=IMAGE), BEFORE).image
    assert isinstance(facts.access, Unknown)
    assert isinstance(facts.upstream, Unknown)
