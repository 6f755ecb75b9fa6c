"""The shield before a real registry, with faults on the way: one fetch for all, nothing kept that is not proven."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import pytest

from proxy.errors import RangeNotSatisfiable
from proxy.path import Kind, Route
from proxy.shield.origin import Shield
from proxy.shield.spool import Spool
from proxy.sources.message import Answer, Request
from proxy.span import ByteRange
from registry.blobs import BlobFolder
from registry.digest import Digest
from registry.errors import Corrupt, NotFound, RegistryError, Unauthorized, Unreachable
from tests.rig import faulty, reader
from tests.rig.faulty import Relay
from tests.rig.images import BuiltImage, image
from tests.rig.processes import wait_until
from tests.rig.upstream import Upstream

BUILT: BuiltImage = image("shielded", layers=1, layer_size=300_000)
DIGEST, BLOB = max(BUILT.blobs.items(), key=lambda item: len(item[1]))
BLOBS = "/blobs/"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def relay(upstream: Upstream) -> Iterator[Relay]:
    upstream.push(BUILT, "team/app", "1")
    with Relay(upstream.host) as between:
        yield between


def blob_of(relay: Relay, digest: Digest = DIGEST) -> Request:
    return Request(Route(relay.host, "team/app", Kind.BLOB, str(digest)))


def manifest_of(relay: Relay, target: str = "1", method: str = "GET") -> Request:
    return Request(Route(relay.host, "team/app", Kind.MANIFEST, target), method)


def make(folder: Path, clock: Clock | None = None, size: int = 1 << 30) -> Shield:
    return Shield(reader.client(), Spool(BlobFolder(folder / "spool"), size), clock=clock or Clock())


def read(answer: Answer) -> bytes:
    with closing(answer.body):
        return b"".join(answer.body)


def kept(folder: Path) -> set[Digest]:
    return set(BlobFolder(folder / "spool").digests())


# blobs


def test_one_fetch_for_all_who_want_the_same_blob_and_then_none(relay: Relay, tmp_path: Path) -> None:
    shield, go_on = make(tmp_path), threading.Event()
    relay.rule(faulty.hold(go_on, after=1000), path=BLOBS)
    with ThreadPoolExecutor(20) as pool:
        pulls = [pool.submit(lambda: read(shield.fetch(blob_of(relay)))) for _ in range(20)]
        wait_until(lambda: relay.rules[0].times == 0, "upstream is asked")
        go_on.set()
        assert [pull.result(20) == BLOB for pull in pulls] == [True] * 20
    assert read(shield.fetch(blob_of(relay))) == BLOB
    assert relay.count("GET", BLOBS) == 1
    assert kept(tmp_path) == {DIGEST}


def test_who_waits_sees_size_and_first_bytes_while_the_rest_is_still_to_come(relay: Relay, tmp_path: Path) -> None:
    shield, go_on = make(tmp_path), threading.Event()
    relay.rule(faulty.hold(go_on, after=1000), path=BLOBS)
    answer = shield.fetch(blob_of(relay))
    pieces = iter(answer.body)
    assert answer.length == len(BLOB)
    beginning = next(pieces)
    assert beginning == BLOB[: len(beginning)]
    go_on.set()
    assert beginning + b"".join(pieces) == BLOB
    answer.body.close()


def test_a_reader_that_leaves_does_not_stop_the_fetch(relay: Relay, tmp_path: Path) -> None:
    shield, go_on = make(tmp_path), threading.Event()
    relay.rule(faulty.hold(go_on, after=1000), path=BLOBS)
    leaving, staying = shield.fetch(blob_of(relay)), shield.fetch(blob_of(relay))
    leaving.body.close()
    go_on.set()
    assert read(staying) == BLOB
    assert relay.count("GET", BLOBS) == 1


@pytest.mark.parametrize("wanted", [ByteRange(5, 9), ByteRange(299_000), ByteRange(-5)])
def test_a_range_of_a_cold_blob_waits_for_its_bytes(relay: Relay, tmp_path: Path, wanted: ByteRange) -> None:
    shield = make(tmp_path)
    span = wanted.within(len(BLOB))
    for _ in ("cold", "warm"):
        answer = shield.fetch(Request(blob_of(relay).route, range=wanted))
        assert (answer.status, answer.span, read(answer)) == (206, span, BLOB[span.start : span.stop])
        wait_until(lambda: kept(tmp_path) == {DIGEST}, "the whole blob is kept")
    assert relay.count("GET", BLOBS) == 1
    with pytest.raises(RangeNotSatisfiable):
        shield.fetch(Request(blob_of(relay).route, range=ByteRange(len(BLOB))))


def test_head_tells_the_size_and_fetches_nothing(relay: Relay, tmp_path: Path) -> None:
    answer = make(tmp_path).fetch(Request(blob_of(relay).route, "HEAD"))
    assert (answer.length, read(answer)) == (len(BLOB), b"")
    assert relay.count("GET", BLOBS) == 0


def damaged(go_on: threading.Event) -> faulty.Fault:
    """Send the beginning, and once told to, the rest with its first byte changed."""

    def fault(exchange: faulty.Exchange) -> None:
        reply = exchange.fetch()
        exchange.begin(reply.status, {**reply.headers, "Content-Length": str(len(reply.body))})
        exchange.write(reply.body[:1000])
        assert go_on.wait(10)
        exchange.write(bytes([reply.body[1000] ^ 1]) + reply.body[1001:])

    return fault


def test_a_damaged_blob_is_never_complete_and_never_kept(relay: Relay, tmp_path: Path) -> None:
    shield, go_on = make(tmp_path), threading.Event()
    relay.rule(damaged(go_on), path=BLOBS)
    received: list[bytes] = []
    with closing(shield.fetch(blob_of(relay)).body) as body, ThreadPoolExecutor(1) as pool:
        reading = pool.submit(received.extend, body)
        wait_until(lambda: bool(received), "the beginning comes")
        go_on.set()
        assert isinstance(reading.exception(10), Corrupt)
    assert 0 < len(b"".join(received)) < len(BLOB)
    assert kept(tmp_path) == set()
    assert read(shield.fetch(blob_of(relay))) == BLOB


@pytest.mark.parametrize("fault", [faulty.truncate(1000), faulty.extend(b"more")])
def test_a_blob_of_another_length_is_refused(relay: Relay, tmp_path: Path, fault: faulty.Fault) -> None:
    relay.rule(fault, path=BLOBS)
    with pytest.raises(Corrupt):
        read(make(tmp_path).fetch(blob_of(relay)))
    assert kept(tmp_path) == set()


def test_a_break_upstream_is_resumed_where_it_happened(relay: Relay, tmp_path: Path) -> None:
    relay.rule(faulty.cut(100_000), path=BLOBS)
    assert read(make(tmp_path).fetch(blob_of(relay))) == BLOB
    ranges = [seen.headers.get("Range") for seen in relay.requests if BLOBS in seen.path]
    assert ranges == [None, "bytes=100000-"]


def test_what_an_earlier_shield_left_is_resumed(relay: Relay, tmp_path: Path) -> None:
    with BlobFolder(tmp_path / "spool").ingest(DIGEST) as ingest:
        ingest.write(BLOB[:200_000])
    assert read(make(tmp_path).fetch(blob_of(relay))) == BLOB
    assert [seen.headers.get("Range") for seen in relay.requests] == ["bytes=200000-"]


def test_what_was_left_by_somebody_and_is_wrong_does_not_get_in(relay: Relay, tmp_path: Path) -> None:
    shield = make(tmp_path)
    with BlobFolder(tmp_path / "spool").ingest(DIGEST) as ingest:
        ingest.write(b"x" * (len(BLOB) + 1))
    assert read(shield.fetch(blob_of(relay))) == BLOB
    assert kept(tmp_path) == {DIGEST}


def test_a_blob_that_leaves_the_spool_while_it_is_opened_is_still_given_whole(relay: Relay, tmp_path: Path) -> None:
    class Full(Spool):
        def open(self, digest: Digest) -> BinaryIO | None:
            file = super().open(digest)
            self.drop([digest])  # as another thread does for a blob that comes
            return file

    shield = Shield(reader.client(), Full(BlobFolder(tmp_path / "spool"), 1 << 30))
    shield.spool.put(DIGEST, BLOB)
    answer = shield.fetch(blob_of(relay))
    assert (answer.length, read(answer), relay.requests) == (len(BLOB), BLOB, [])


def test_a_blob_larger_than_the_spool_streams_through(relay: Relay, tmp_path: Path) -> None:
    shield = make(tmp_path, size=1000)
    for pulls in (1, 2):
        answer = shield.fetch(blob_of(relay))
        assert (read(answer), answer.cache) == (BLOB, "kuik-shield; fwd=bypass")
        assert relay.count("GET", BLOBS) == 1 + pulls
    assert kept(tmp_path) == set()


def test_damage_on_the_way_through_is_seen_too(relay: Relay, tmp_path: Path) -> None:
    relay.rule(faulty.corrupt(1234), path=BLOBS, times=None)
    with pytest.raises(Corrupt):
        read(make(tmp_path, size=1000).fetch(blob_of(relay)))


def test_a_disk_that_takes_nothing_is_no_error(relay: Relay, tmp_path: Path) -> None:
    (tmp_path / "spool.ingest").write_text("not a folder")
    shield = make(tmp_path)
    assert read(shield.fetch(blob_of(relay))) == BLOB
    assert read(shield.fetch(manifest_of(relay))) == BUILT.raw


def test_a_disk_that_is_full_in_the_middle_is_no_error(
    relay: Relay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shield = make(tmp_path)
    go_on = threading.Event()
    relay.rule(faulty.hold(go_on, after=100_000), path=BLOBS)
    answer = shield.fetch(blob_of(relay))
    pieces = iter(answer.body)
    beginning = next(pieces)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("registry.ingest.os.write", full)
    go_on.set()
    assert beginning + b"".join(pieces) == BLOB
    assert kept(tmp_path) == set()
    assert sum(file.stat().st_size for file in (tmp_path / "spool.ingest").iterdir()) == 0


def test_a_machine_without_a_thread_left_streams_through(
    relay: Relay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shield = make(tmp_path)
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("fetch"):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert [read(shield.fetch(blob_of(relay))) for _ in range(2)] == [BLOB, BLOB]


def test_without_a_length_from_upstream_it_passes_as_it_comes_and_a_range_waits(relay: Relay, tmp_path: Path) -> None:
    shield, go_on = make(tmp_path), threading.Event()
    relay.rule(faulty.chunked(hold=go_on), path=BLOBS)
    answer = shield.fetch(blob_of(relay))
    pieces = iter(answer.body)
    beginning = next(pieces)
    with ThreadPoolExecutor(1) as pool:
        ranged = pool.submit(shield.fetch, replace(blob_of(relay), range=ByteRange(-7)))
        assert (answer.length, answer.status, ranged.done()) == (None, 200, False)
        go_on.set()
        assert beginning + b"".join(pieces) == BLOB
        assert (ranged.result(10).length, read(ranged.result())) == (7, BLOB[-7:])
    answer.body.close()
    assert relay.count("GET", BLOBS) == 1
    assert shield.fetch(blob_of(relay)).length == len(BLOB)


def test_without_a_length_damage_is_still_never_complete(relay: Relay, tmp_path: Path) -> None:
    shield = make(tmp_path)
    relay.rule(faulty.chunked(spoil=len(BLOB) - 1), path=BLOBS)
    received: list[bytes] = []
    with pytest.raises(Corrupt):
        received.extend(shield.fetch(blob_of(relay)).body)
    assert len(b"".join(received)) < len(BLOB)
    assert read(shield.fetch(blob_of(relay))) == BLOB


def test_a_rest_that_upstream_does_not_give_alone_is_taken_from_the_whole(relay: Relay, tmp_path: Path) -> None:
    with BlobFolder(tmp_path / "spool").ingest(DIGEST) as ingest:
        ingest.write(BLOB[:200_000])
    relay.rule(faulty.ignore_range(), path=BLOBS)
    assert read(make(tmp_path).fetch(blob_of(relay))) == BLOB
    assert relay.requests[0].headers.get("Range") == "bytes=200000-"
    assert relay.count("GET", BLOBS) == 1


def test_upstream_s_refusal_of_a_blob_is_told(relay: Relay, tmp_path: Path) -> None:
    shield = make(tmp_path)
    with pytest.raises(NotFound):
        shield.fetch(blob_of(relay, Digest.of(b"another")))
    relay.rule(faulty.error(401, "UNAUTHORIZED"), path=BLOBS)
    with pytest.raises(Unauthorized):
        shield.fetch(blob_of(relay))


# tags and manifests


def test_a_tag_is_asked_once_while_fresh_then_by_head(relay: Relay, tmp_path: Path) -> None:
    clock = Clock()
    shield = make(tmp_path, clock)
    for seconds in (0, 59, 1, 59):
        clock.now += seconds
        assert read(shield.fetch(manifest_of(relay))) == BUILT.raw
    assert [seen.method for seen in relay.requests] == ["GET", "HEAD"]


def test_head_of_a_tag_costs_a_head(relay: Relay, tmp_path: Path) -> None:
    answer = make(tmp_path).fetch(manifest_of(relay, method="HEAD"))
    assert (answer.digest, answer.length, answer.media_type) == (BUILT.digest, len(BUILT.raw), BUILT.media_type)
    assert [seen.method for seen in relay.requests] == ["HEAD"]


def test_a_tag_that_moved_is_noticed(relay: Relay, upstream: Upstream, tmp_path: Path) -> None:
    clock, moved = Clock(), image("moved")
    shield = make(tmp_path, clock)
    assert read(shield.fetch(manifest_of(relay))) == BUILT.raw
    upstream.push(moved, "team/app", "1")
    assert read(shield.fetch(manifest_of(relay))) == BUILT.raw
    clock.now += 60
    assert read(shield.fetch(manifest_of(relay))) == moved.raw


def test_a_stale_tag_is_told_while_upstream_is_silent_at_the_price_of_one_try(relay: Relay, tmp_path: Path) -> None:
    clock = Clock()
    shield = make(tmp_path, clock)
    read(shield.fetch(manifest_of(relay)))
    clock.now += 60
    relay.rule(faulty.error(503, "UNAVAILABLE", headers={"Retry-After": "60"}), times=None)
    for _ in range(5):
        assert read(shield.fetch(manifest_of(relay))) == BUILT.raw
    assert [seen.method for seen in relay.requests] == ["GET", "HEAD"]


def test_an_image_that_is_gone_is_told_as_gone_and_asked_for_once(relay: Relay, tmp_path: Path) -> None:
    clock = Clock()
    shield = make(tmp_path, clock)
    read(shield.fetch(manifest_of(relay)))
    clock.now += 60
    relay.rule(faulty.error(404, "MANIFEST_UNKNOWN"), times=None)
    for _ in range(3):
        with pytest.raises(NotFound):
            shield.fetch(manifest_of(relay))
    assert relay.count() == 2


def test_manifests_by_digest_survive_restart_and_upstream(relay: Relay, tmp_path: Path) -> None:
    read(make(tmp_path).fetch(manifest_of(relay)))
    relay.rule(faulty.error(500, "UNKNOWN"), times=None)
    again = make(tmp_path).fetch(manifest_of(relay, str(BUILT.digest)))
    assert (read(again), again.media_type, again.cache) == (BUILT.raw, BUILT.media_type, "kuik-shield; hit")


def test_a_blob_is_no_manifest(relay: Relay, tmp_path: Path) -> None:
    shield = make(tmp_path)
    read(shield.fetch(blob_of(relay)))
    with pytest.raises(RegistryError):
        shield.fetch(manifest_of(relay, str(DIGEST)))


def test_the_list_of_tags_passes(relay: Relay, tmp_path: Path) -> None:
    answer = make(tmp_path).fetch(Request(Route(relay.host, "team/app", Kind.TAGS), query={"n": "1"}))
    assert read(answer) == b'{"name": "team/app", "tags": ["1"]}'


def test_what_refers_to_an_image_is_upstream_s_word(relay: Relay, tmp_path: Path) -> None:
    index = b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'
    relay.rule(faulty.answer(200, index), path=f"/referrers/{BUILT.digest}?artifactType=a%26b%2Fc")
    relay.rule(faulty.answer(200, b"<html>"), path="/referrers/")
    route = Route(relay.host, "team/app", Kind.REFERRERS, str(BUILT.digest))
    shield = make(tmp_path)
    answer = shield.fetch(Request(route, query={"artifactType": "a&b/c"}))
    assert (read(answer), answer.media_type) == (index, "application/vnd.oci.image.index.v1+json")
    with pytest.raises(Corrupt):
        shield.fetch(Request(route))
    with pytest.raises(NotFound):  # of a registry that knows no such question, whose client looks at a tag then
        shield.fetch(Request(route))


def test_a_dead_upstream_costs_one_try(upstream: Upstream, tmp_path: Path) -> None:
    clock = Clock()
    shield = make(tmp_path, clock)
    request = Request(Route(upstream.host, "team/app", Kind.MANIFEST, "1"))
    upstream.stop()
    with pytest.raises(Unreachable) as first:
        shield.fetch(request)
    with pytest.raises(Unreachable) as second:
        shield.fetch(request)
    assert "asked again in" not in str(first.value)
    assert "asked again in 5 s" in str(second.value)
    upstream.start()
    upstream.push(BUILT, "team/app", "1")
    clock.now += 5
    assert read(shield.fetch(request)) == BUILT.raw


def test_who_comes_back_for_the_rest_of_a_damaged_blob_learns_why(relay: Relay, tmp_path: Path) -> None:
    shield = make(tmp_path)
    relay.rule(faulty.corrupt(1000), path=BLOBS)
    with pytest.raises(Corrupt), closing(shield.fetch(blob_of(relay)).body) as body:
        list(body)
    with pytest.raises(Corrupt):
        shield.fetch(replace(blob_of(relay), range=ByteRange(len(BLOB) - 1)))
    assert read(shield.fetch(blob_of(relay))) == BLOB


def test_a_small_blob_that_is_damaged_is_refused_with_the_reason_or_begun(relay: Relay, tmp_path: Path) -> None:
    """Never an answer without a byte: its reader would begin anew, and never learn why."""
    shield = make(tmp_path)
    for _ in range(20):
        relay.rule(faulty.corrupt(10), path=BLOBS)
        try:
            body = shield.fetch(blob_of(relay)).body
        except Corrupt:
            continue
        wait_until(lambda: not shield._blobs._under_way, "the damage was noticed")
        received: list[bytes] = []
        with closing(body), pytest.raises(Corrupt):
            received.extend(body)
        assert b"".join(received)
