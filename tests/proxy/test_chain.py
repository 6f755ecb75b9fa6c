"""Whom the chain asks, what it tells when nobody has it, and how a broken body goes on."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest

from proxy.chain import Chain
from proxy.errors import RangeNotSatisfiable
from proxy.path import Kind, Route
from proxy.recent import LONGEST, RecentManifests
from proxy.sources.message import BLOB_TYPE, Answer, Request, manifest_answer
from proxy.span import ByteRange, span_of
from proxy.stream import PiecesBody
from registry.digest import Digest
from registry.errors import Corrupt, NotFound, RateLimited, RegistryError, ServerFailure, Unauthorized, Unreachable
from registry.manifest import OCI_MANIFEST, Descriptor

BLOB = bytes(range(256)) * 4
DIGEST = Digest.of(BLOB)
A_BLOB = Request(Route("quay.io", "a", Kind.BLOB, str(DIGEST)))
A_TAG = Request(Route("quay.io", "a", Kind.MANIFEST, "1"))
BY_DIGEST = Request(Route("quay.io", "a", Kind.MANIFEST, str(DIGEST)))


@dataclass(eq=False)
class Fake:
    """A source that has BLOB, in pieces of 100 bytes, fails from the start, or breaks after `breaks` bytes."""

    name: str
    fails: RegistryError | None = None
    breaks: int | None = None
    breaks_with: RegistryError = field(default_factory=lambda: Unreachable("reset"))
    asked: list[Request] = field(default_factory=list)
    closed: int = 0
    content: bytes = BLOB

    def peer(self, _request: Request, /) -> str:
        return self.name

    def fetch(self, request: Request) -> Answer:
        self.asked.append(request)
        if self.fails:
            raise self.fails
        if request.kind is Kind.MANIFEST:
            return manifest_answer(request, Descriptor(OCI_MANIFEST, DIGEST, len(BLOB)), BLOB)
        span = span_of(request.range, len(self.content))
        body = PiecesBody(self._pieces(self.content[span.start : span.stop]), self._close)
        return Answer(body, len(self.content), BLOB_TYPE, DIGEST, span if request.range else None)

    def _pieces(self, content: bytes) -> Iterator[bytes]:
        stop = len(content) if self.breaks is None else self.breaks
        for at in range(0, stop, 100):
            yield content[at : min(at + 100, stop)]
        if self.breaks is not None:
            raise self.breaks_with

    def _close(self) -> None:
        self.closed += 1


def read(answer: Answer) -> bytes:
    try:
        return b"".join(answer.body)
    finally:
        answer.body.close()


@pytest.mark.parametrize(
    ("request_", "order"),
    [
        (A_TAG, ["shield", "registry", "upstream"]),
        (BY_DIGEST, ["registry", "shield", "upstream"]),
        (A_BLOB, ["registry", "shield", "upstream"]),
        (Request(Route("quay.io", "a", Kind.TAGS)), ["shield", "registry", "upstream"]),
    ],
)
@pytest.mark.parametrize(
    "error", [NotFound("x"), Unauthorized("x"), RateLimited("x"), ServerFailure("x"), Corrupt("x")]
)
def test_any_error_of_a_source_leads_to_the_next(request_: Request, order: list[str], error: RegistryError) -> None:
    sources = {name: Fake(name, error) for name in order}
    chain = Chain([sources["registry"]], [sources["shield"]], [sources["upstream"]])
    assert [source.name for source in chain.order(request_)] == order
    with pytest.raises(RegistryError):
        chain.fetch(request_)
    assert all(len(source.asked) == 1 for source in sources.values())
    last = Fake(order[-1])
    answer = Chain([sources["registry"]], [sources["shield"]], [last]).fetch(
        A_BLOB if request_.kind is Kind.TAGS else request_
    )
    assert read(answer) == BLOB
    assert answer.cache == "kuik; fwd=miss; detail=upstream"


def test_one_thing_is_asked_of_one_replica_and_of_the_next_where_that_is_dead() -> None:
    stores = [Fake(f"registry-{number}") for number in range(3)]
    blobs = [Request(Route("quay.io", "a", Kind.BLOB, str(Digest.of(bytes([number]))))) for number in range(30)]
    orders = [Chain(stores).order(blob) for blob in blobs]
    assert orders == [Chain(stores[::-1]).order(blob) for blob in blobs]
    assert {order[0].name for order in orders} == {"registry-0", "registry-1", "registry-2"}
    dead, *alive = orders[0]
    assert isinstance(dead, Fake)
    dead.fails = Unreachable("refused")
    assert read(Chain(stores).fetch(blobs[0])) == BLOB
    assert [isinstance(one, Fake) and len(one.asked) for one in (dead, *alive)] == [1, 1, 0]


def test_a_tag_and_the_digest_behind_it_are_asked_of_the_same_shield() -> None:
    shields = [Fake(f"shield-{number}") for number in range(4)]
    assert Chain(shields=shields).order(A_TAG) == Chain(shields=shields).order(BY_DIGEST)


def test_cache_status_says_where_from() -> None:
    assert Chain([Fake("registry")]).fetch(A_BLOB).cache == "kuik; hit; detail=registry"


@pytest.mark.parametrize(
    ("registry", "shield", "upstream", "told"),
    [
        (NotFound("r"), Unreachable("s"), Unreachable("u"), Unreachable),
        (NotFound("r"), NotFound("s"), Unreachable("u"), NotFound),
        (NotFound("r"), Unreachable("s"), Unauthorized("u"), Unauthorized),
        (NotFound("r"), RateLimited("s"), Unauthorized("u"), RateLimited),
        (Unreachable("r"), Unreachable("s"), NotFound("u"), NotFound),
    ],
)
def test_the_most_telling_error_is_told(
    registry: RegistryError, shield: RegistryError, upstream: RegistryError, told: type[RegistryError]
) -> None:
    chain = Chain([Fake("registry", registry)], [Fake("shield", shield)], [Fake("upstream", upstream)])
    with pytest.raises(told) as raised:
        chain.fetch(A_BLOB)
    assert type(raised.value) is told


def test_without_any_remote_source_the_store_s_word_counts() -> None:
    with pytest.raises(NotFound):
        Chain([Fake("registry", NotFound("r"))]).fetch(A_BLOB)


@pytest.mark.parametrize("breaks", [0, 1, 250, 1000])
@pytest.mark.parametrize("wanted", [None, ByteRange(3, 1020), ByteRange(-1020)])
def test_a_body_that_breaks_goes_on_from_the_next_source(breaks: int, wanted: ByteRange | None) -> None:
    request = Request(A_BLOB.route, range=wanted)
    span = span_of(wanted, len(BLOB))
    first, second, third = Fake("one", breaks=breaks), Fake("two", breaks=5), Fake("three")
    assert read(Chain([first], [second], [third]).fetch(request)) == BLOB[span.start : span.stop]
    assert second.asked[0].range == ByteRange(span.start + breaks, span.stop - 1)
    assert (first.closed, second.closed, third.closed) == (1, 1, 1)


def test_a_body_that_breaks_everywhere_is_seen_to_break() -> None:
    answer = Chain([Fake("one", breaks=200)], [Fake("two", breaks=200)]).fetch(A_BLOB)
    with pytest.raises(Unreachable):
        read(answer)


def test_damage_is_not_continued_once_bytes_were_sent() -> None:
    other = Fake("two")
    answer = Chain([Fake("one", breaks=300, breaks_with=Corrupt("wrong"))], [other]).fetch(A_BLOB)
    with pytest.raises(Corrupt):
        read(answer)
    assert not other.asked


def test_another_blob_under_the_same_name_does_not_continue_it() -> None:
    answer = Chain([Fake("one", breaks=300)], [Fake("two", content=BLOB + b"more")]).fetch(A_BLOB)
    with pytest.raises(Corrupt):
        read(answer)


def test_a_range_beyond_the_end_is_an_answer_not_a_failure() -> None:
    other = Fake("two")
    with pytest.raises(RangeNotSatisfiable):
        Chain(shields=[Fake("one")], upstreams=[other]).fetch(Request(A_BLOB.route, range=ByteRange(5000)))
    assert not other.asked


@pytest.mark.parametrize("error", [NotFound("s"), Unreachable("s")])
def test_a_copy_s_word_of_its_end_counts_where_nobody_else_has_the_blob(error: RegistryError) -> None:
    chain = Chain([Fake("registry")], [Fake("shield", error)])
    with pytest.raises(RangeNotSatisfiable):
        chain.fetch(Request(A_BLOB.route, range=ByteRange(5000)))


def test_a_copy_that_lost_its_end_does_not_keep_the_rest_from_who_comes_back_for_it() -> None:
    short, shield = Fake("registry", content=BLOB[:500]), Fake("shield")
    assert read(Chain([short], [shield]).fetch(Request(A_BLOB.route, range=ByteRange(500)))) == BLOB[500:]


@pytest.mark.parametrize("length", [100, 900])
def test_a_copy_that_lost_its_end_does_not_end_a_transfer_that_others_can_go_on_with(length: int) -> None:
    stores = [Fake("registry-0"), Fake("registry-1")]
    first, second = (source for source in Chain(stores).order(A_BLOB) if isinstance(source, Fake))
    first.breaks, second.content = 300, BLOB[:length]
    assert read(Chain(stores, [Fake("shield")]).fetch(A_BLOB)) == BLOB


def test_a_body_that_ends_early_goes_on_elsewhere_and_is_seen_to_break_where_nobody_has_the_rest() -> None:
    class EndsEarly(Fake):
        """As a 206 whose bytes are fewer than its Content-Range says."""

        def _pieces(self, content: bytes) -> Iterator[bytes]:
            yield content[:200]

    assert read(Chain([EndsEarly("registry")], [Fake("shield")]).fetch(A_BLOB)) == BLOB
    with pytest.raises(Unreachable):
        read(Chain([EndsEarly("registry")]).fetch(A_BLOB))


@pytest.mark.parametrize("others", [True, False])
def test_a_body_that_trickles_through_python_goes_on_elsewhere_where_there_is_another(
    monkeypatch: pytest.MonkeyPatch, others: bool
) -> None:
    monkeypatch.setattr("proxy.continued.KEPT_SECONDS", 0.1)

    class Trickles(Fake):
        """As one does over TLS."""

        def _pieces(self, content: bytes) -> Iterator[bytes]:
            for at in range(0, len(content), 50):
                time.sleep(0.03)
                yield content[at : at + 50]

    slow, shield = Trickles("registry"), Fake("shield")
    chain = Chain([slow], [shield] if others else [])
    assert read(chain.fetch(A_BLOB)) == BLOB
    assert slow.closed == 1
    assert [request.range is not None for request in shield.asked] == [True] * others


def test_who_is_slow_with_the_last_bytes_has_given_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.continued.KEPT_SECONDS", 0.05)

    class LastIsLate(Fake):
        def _pieces(self, content: bytes) -> Iterator[bytes]:
            yield content[:-24]
            time.sleep(0.1)
            yield content[-24:]

    shield = Fake("shield")
    assert read(Chain([LastIsLate("registry")], [shield]).fetch(A_BLOB)) == BLOB
    assert not shield.asked


@pytest.mark.parametrize("wanted", [None, ByteRange(0, 99), ByteRange(0, 149)])
def test_no_byte_beyond_what_was_promised_reaches_the_client(wanted: ByteRange | None) -> None:
    class SaysMore(Fake):
        """As an answer in chunks whose bytes are more than its Content-Range says."""

        def _pieces(self, content: bytes) -> Iterator[bytes]:
            yield from super()._pieces(content)
            yield b"HTTP/1.1 200 OK"

    request = replace(A_BLOB, range=wanted)
    sent = b"".join(SaysMore("upstream").fetch(request).body)
    assert sent.endswith(b"OK")
    assert read(Chain(upstreams=[SaysMore("upstream")]).fetch(request)) == sent.removesuffix(b"HTTP/1.1 200 OK")


def test_a_dead_source_is_asked_once_and_not_once_per_request() -> None:
    dead, alive = Fake("dead", Unreachable("no answer")), Fake("alive")
    chain = Chain([dead], [alive])
    for _ in range(5):
        assert read(chain.fetch(replace(A_BLOB, range=ByteRange(0)))) == BLOB
    assert (len(dead.asked), len(alive.asked)) == (1, 5)


def test_a_machine_short_of_open_files_is_no_reason_to_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    short = Fake("registry")

    def fetch(_: Request) -> Answer:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(short, "fetch", fetch)
    assert read(Chain([short], [Fake("shield")]).fetch(A_BLOB)) == BLOB


def test_a_manifest_by_digest_is_remembered_for_its_repository_alone() -> None:
    source = Fake("shield")
    chain = Chain([], [source])
    assert read(chain.fetch(A_TAG)) == BLOB
    again = chain.fetch(BY_DIGEST)
    assert (read(again), again.cache, again.media_type) == (BLOB, "kuik; hit; detail=memory", OCI_MANIFEST)
    assert chain.fetch(Request(BY_DIGEST.route, "HEAD")).length == len(BLOB)
    assert len(source.asked) == 1
    chain.fetch(Request(Route("quay.io", "other", Kind.MANIFEST, str(DIGEST))))
    chain.fetch(A_TAG)
    assert len(source.asked) == 3


def test_a_tag_is_told_from_memory_for_as_long_as_the_shield_allows_and_seconds_at_most() -> None:
    now = [1000.0]

    class Shield(Fake):
        def fetch(self, request: Request) -> Answer:
            return replace(super().fetch(request), headers={"Cache-Control": f"max-age={self.name}"})

    for said, fresh in (("0", 0.0), ("2", 2.0), ("60", LONGEST), ("no", 0.0)):
        shield = Shield(said)
        chain = Chain(shields=[shield], recent=RecentManifests(clock=lambda: now[0]))
        for _ in range(2):
            assert read(chain.fetch(A_TAG)) == BLOB
        assert len(shield.asked) == (1 if fresh else 2)
        now[0] += fresh
        assert read(chain.fetch(A_TAG)) == BLOB
        assert len(shield.asked) == (2 if fresh else 3)
