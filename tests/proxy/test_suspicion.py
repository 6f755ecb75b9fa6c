"""Damage that a client found is not served again: it comes back for what it had whole, and gets proven bytes."""

import logging
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from proxy.chain import Chain
from proxy.path import Kind, Route
from proxy.recent import RecentManifests
from proxy.sources.message import BLOB_TYPE, Answer, Request
from proxy.span import ByteRange, span_of
from proxy.stream import PiecesBody
from proxy.suspicion import PROVEN_FOR, SOON, Suspicion
from registry.digest import Digest
from registry.errors import Corrupt, NotFound
from tests.rig import faulty
from tests.rig.components import proxy
from tests.rig.faulty import Relay
from tests.rig.processes import wait_until

BLOB = bytes(range(256)) * 4
WRONG = BLOB[:500] + b"!" + BLOB[501:]
DIGEST = Digest.of(BLOB)
A_BLOB = Request(Route("quay.io", "a", Kind.BLOB, str(DIGEST)))


@dataclass(eq=False)
class Source:
    name: str
    content: bytes = BLOB
    asked: list[Request] = field(default_factory=list)
    missing: bool = False
    piece: int = 100

    def peer(self, _request: Request, /) -> str:
        return self.name

    def fetch(self, request: Request) -> Answer:
        self.asked.append(request)
        if self.missing:
            raise NotFound("no such blob")
        span = span_of(request.range, len(self.content))
        content = self.content[span.start : span.stop]
        pieces = [content[at : at + self.piece] for at in range(0, len(content), self.piece)]
        return Answer(PiecesBody(pieces, lambda: None), len(BLOB), BLOB_TYPE, DIGEST, span if request.range else None)


@dataclass
class World:
    store: Source
    shield: Source
    now: float = 1000.0

    def __post_init__(self) -> None:
        suspicion = Suspicion(lambda: self.now)
        self.chain = Chain([self.store], [self.shield], suspicion=suspicion, recent=RecentManifests())

    def pull(self, request: Request = A_BLOB) -> tuple[bytes, str]:
        """What came, and from whom."""
        answer = self.chain.fetch(request)
        try:
            return b"".join(answer.body), answer.source
        finally:
            answer.body.close()


@pytest.fixture
def world() -> World:
    return World(Source("registry"), Source("shield"))


def test_damage_is_served_once_reported_and_not_served_again(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.store.content = WRONG
    assert world.pull() == (WRONG, "registry")
    with caplog.at_level(logging.ERROR):
        assert world.pull() == (BLOB, "shield")
        wait_until(lambda: "registry has damaged bytes" in caplog.text, "the damage is reported")
    world.now += SOON + 1
    assert world.pull() == (BLOB, "shield")
    world.now += PROVEN_FOR
    assert world.pull()[1] == "registry"


def test_what_was_sound_after_all_comes_from_its_place_again(world: World) -> None:
    assert [world.pull()[1] for _ in range(2)] == ["registry", "shield"]
    wait_until(lambda: not world.chain.suspicion.doubted(DIGEST, ["registry"]), "the store's bytes are proven")
    assert [world.pull()[1] for _ in range(3)] == ["registry"] * 3


def test_long_after_it_was_served_nothing_is_in_doubt(world: World) -> None:
    world.pull()
    world.now += SOON + 1
    assert world.pull()[1] == "registry"


def test_the_last_source_s_damage_is_not_sent_to_its_end(world: World) -> None:
    world.store.content, world.shield.missing = WRONG, True
    world.pull()
    with pytest.raises(Corrupt):
        world.pull()


def test_the_rest_of_a_blob_and_a_client_that_left_raise_no_doubt(world: World) -> None:
    world.pull(Request(A_BLOB.route, range=ByteRange(5)))
    body = world.chain.fetch(A_BLOB).body
    next(iter(body))
    body.close()
    assert world.pull()[1] == "registry"


def test_doubt_alone_asks_no_other_shield_and_no_upstream() -> None:
    shields, upstream = [Source("shield-a"), Source("shield-b")], Source("quay.io")
    chain = Chain([], shields, [upstream], recent=RecentManifests())
    for _ in range(3):
        with closing(chain.fetch(A_BLOB).body) as body:
            assert b"".join(body) == BLOB
    assert sorted(len(shield.asked) for shield in shields) == [0, 4], "one more, to prove it"
    assert not upstream.asked


def test_a_shield_that_is_known_to_have_damaged_bytes_is_asked_last() -> None:
    shield, upstream = Source("shield", WRONG), Source("quay.io")
    chain = Chain([], [shield], [upstream], recent=RecentManifests())
    with closing(chain.fetch(A_BLOB).body) as body:
        assert b"".join(body) == WRONG
    for _ in range(2):
        with closing(chain.fetch(A_BLOB).body) as body:
            assert b"".join(body) == BLOB
    assert (len(shield.asked), len(upstream.asked)) == (2, 2), "one more, to prove it"


def test_a_real_client_that_comes_back_gets_the_right_bytes(tmp_path: Path) -> None:
    content = bytes(range(256)) * 8000
    digest = Digest.of(content)
    path = f"/v2/quay.io/a/blobs/{digest}"
    with Relay() as good, Relay() as bad:
        good.rule(faulty.answer(200, content), path=path, times=None)
        bad.rule(faulty.answer(200, content[:-1] + b"!"), path=path, times=None)
        component = proxy(tmp_path, "--registry", bad.url, "--shield", good.url).start()
        try:
            assert component.get(path).body != content

            def ended() -> float:
                return sum(component.numbers().by("kuik_proxy_requests_total", "outcome", kind="blobs").values())

            wait_until(lambda: ended() == 1, "the proxy knows that the client had all of it")
            for _ in range(3):
                assert component.get(path).body == content
            wait_until(lambda: "damaged bytes" in component.log.read_text(), "the damage is reported")
            found = component.numbers().by("kuik_proxy_damaged_total", "source")
            assert sum(found.values()) >= 1, "each time that it was judged"
            assert bad.host in next(iter(found))
        finally:
            component.stop()


def test_a_small_blob_that_nobody_has_undamaged_is_refused_and_its_client_told_why() -> None:
    world = World(Source("registry", WRONG, piece=5000), Source("shield", WRONG, piece=5000))
    world.pull()
    with pytest.raises(Corrupt):
        world.chain.fetch(A_BLOB)


def test_a_shield_in_doubt_is_proven_before_a_node_asks_upstream_by_itself() -> None:
    shield, upstream = Source("shield"), Source("upstream")
    chain = Chain([Source("registry", missing=True)], [shield], [upstream])
    for _ in range(4):
        answer = chain.fetch(A_BLOB)
        assert (b"".join(answer.body), answer.source) == (BLOB, "shield")
        answer.body.close()
    assert (len(shield.asked), upstream.asked) == (5, [])


def test_a_shield_that_is_proven_wrong_gives_way_to_upstream() -> None:
    chain = Chain((), [Source("shield", WRONG)], [Source("upstream")])
    for came in ((WRONG, "shield"), (BLOB, "upstream"), (BLOB, "upstream")):
        answer = chain.fetch(A_BLOB)
        assert (b"".join(answer.body), answer.source) == came
        answer.body.close()
