"""Blobs over connections that break, and servers that answer something other than what was asked."""

from collections.abc import Iterator

import pytest

from registry.digest import Digest
from registry.errors import Corrupt, NotFound, ServerFailure, Unreachable
from registry.reference import Reference
from registry.verify import verified
from tests.rig import faulty
from tests.rig.faulty import Relay
from tests.rig.images import image
from tests.rig.reader import Pauses, client, whole
from tests.rig.upstream import Upstream

SIZE = 300_000


class Blob:
    """A blob in a real registry, and the relay in front of it."""

    def __init__(self, upstream: Upstream, relay: Relay) -> None:
        built = image("streams", layers=1, layer_size=SIZE)
        upstream.push(built, "team/app", "1")
        self.relay = relay
        self.reference = Reference.parse(f"{relay.host}/team/app:1")
        self.digest, self.content = max(built.blobs.items(), key=lambda item: len(item[1]))

    def read(self, start: int = 0) -> bytes:
        with client().open_blob(self.reference, self.digest, start) as stream:
            return whole(stream)

    def ranges(self) -> list[str | None]:
        return [seen.headers.get("Range") for seen in self.relay.requests]


@pytest.fixture
def blob(upstream: Upstream) -> Iterator[Blob]:
    with Relay(upstream.host) as relay:
        yield Blob(upstream, relay)


@pytest.mark.parametrize("reset", [False, True])
def test_a_break_is_resumed_where_it_happened(blob: Blob, reset: bool) -> None:
    blob.relay.rule(faulty.cut(1000)).rule(faulty.cut(2000, reset=reset))
    assert blob.read() == blob.content
    first, second, *rest = blob.ranges()
    assert (first, second) == (None, "bytes=1000-")
    assert rest, "a reset may lose bytes that were on their way, never repeat one"


def test_a_break_in_a_part_is_resumed_too(blob: Blob) -> None:
    blob.relay.rule(faulty.cut(1000))
    assert blob.read(start=500) == blob.content[500:]
    assert blob.ranges() == ["bytes=500-", "bytes=1500-"]


def test_a_break_before_the_first_byte(blob: Blob) -> None:
    blob.relay.rule(faulty.cut(0))
    assert blob.read() == blob.content


def test_breaks_without_end_are_given_up(blob: Blob) -> None:
    blob.relay.rule(faulty.cut(10), times=None)
    with pytest.raises(Unreachable):
        blob.read()
    assert len(blob.relay.requests) == 6


def test_pauses_grow_between_breaks(blob: Blob) -> None:
    pauses = Pauses()
    blob.relay.rule(faulty.cut(10), times=3)
    with client(sleep=pauses).open_blob(blob.reference, blob.digest) as stream:
        assert whole(stream) == blob.content
    assert pauses.taken == [0.2, 0.4, 0.8]


@pytest.mark.parametrize("start", [0, 700])
def test_a_server_that_ignores_ranges_is_skipped_ahead(blob: Blob, start: int) -> None:
    blob.relay.rule(faulty.cut(1000)).rule(faulty.ignore_range(), times=None)
    assert blob.read(start) == blob.content[start:]


def test_a_range_that_begins_earlier_is_skipped_ahead(blob: Blob) -> None:
    blob.relay.rule(faulty.cut(1000)).rule(faulty.shift_range(-10))
    assert blob.read() == blob.content


def test_a_range_that_begins_later_is_refused(blob: Blob) -> None:
    blob.relay.rule(faulty.cut(1000)).rule(faulty.shift_range(10))
    with pytest.raises(ServerFailure, match="from byte 1010, not 1000"):
        blob.read()


@pytest.mark.parametrize("text", ["", "bytes", "bytes */5", "pages 1000-2000/3000", "bytes 5-1/10"])
def test_a_part_without_saying_which(blob: Blob, text: str) -> None:
    blob.relay.rule(faulty.answer(206, b"x", {"Content-Range": text}))
    with pytest.raises(ServerFailure, match="without saying which"):
        blob.read(1000)


def test_a_blob_that_changes_its_size(blob: Blob) -> None:
    blob.relay.rule(faulty.cut(1000)).rule(faulty.answer(206, b"x" * 10, {"Content-Range": "bytes 1000-1009/1010"}))
    with pytest.raises(Corrupt, match="changed its size"):
        blob.read()


def test_a_blob_that_is_gone_after_a_break(blob: Blob) -> None:
    blob.relay.rule(faulty.cut(1000)).rule(faulty.error(404, "BLOB_UNKNOWN"))
    with pytest.raises(NotFound):
        blob.read()


def test_a_start_beyond_the_end(blob: Blob) -> None:
    with pytest.raises(Corrupt, match="fewer than"):
        blob.read(len(blob.content) + 5)


def test_a_start_at_the_end_is_an_empty_rest(blob: Blob) -> None:
    assert blob.read(len(blob.content)) == b""


def test_chunks_without_a_length(blob: Blob) -> None:
    blob.relay.rule(faulty.chunked())
    with client().open_blob(blob.reference, blob.digest) as stream:
        assert stream.size is None
        assert whole(stream) == blob.content


def test_chunks_that_break_off(blob: Blob) -> None:
    blob.relay.rule(faulty.chunked(cut_after=70_000))
    assert blob.read() == blob.content


def test_a_blob_that_shrinks_on_its_way_is_not_verified(blob: Blob) -> None:
    blob.relay.rule(faulty.truncate(1000))
    with client().open_blob(blob.reference, blob.digest) as stream, pytest.raises(Corrupt, match="1000 of"):
        whole(verified(stream, blob.digest, len(blob.content)))


def test_a_damaged_blob_is_not_verified(blob: Blob) -> None:
    blob.relay.rule(faulty.corrupt(SIZE // 2))
    with client().open_blob(blob.reference, blob.digest) as stream, pytest.raises(Corrupt):
        whole(verified(stream, blob.digest))


def test_a_blob_behind_a_redirect_breaks_and_gets_a_new_address(blob: Blob, upstream: Upstream) -> None:
    with Relay(upstream.host) as storage:
        storage.rule(faulty.cut(1000))
        blob.relay.rule(faulty.redirect(f"{storage.url}{{path}}?signature=1"))
        blob.relay.rule(faulty.redirect(f"{storage.url}{{path}}?signature=2"))
        assert blob.read() == blob.content
        assert [seen.path.partition("?")[2] for seen in storage.requests] == ["signature=1", "signature=2"]
        assert storage.requests[1].headers["Range"] == "bytes=1000-"


def test_an_outage_in_the_middle_is_outlasted(blob: Blob) -> None:
    blob.relay.rule(faulty.cut(1000)).rule(faulty.error(503, "UNAVAILABLE"), times=2)
    assert blob.read() == blob.content


def test_a_stream_that_is_closed_early_frees_its_connection(blob: Blob) -> None:
    reader = client()
    for _ in range(3):
        with reader.open_blob(blob.reference, blob.digest) as stream:
            next(iter(stream))
    with reader.open_blob(blob.reference, blob.digest) as stream:
        assert whole(stream) == blob.content


def test_a_head_that_does_not_tell_the_size(blob: Blob) -> None:
    blob.relay.rule(faulty.answer(405), method="HEAD")
    assert client().has_blob(blob.reference, blob.digest) == len(blob.content)
    blob.relay.rule(faulty.change_headers(content_length=None), method="HEAD")
    assert client().has_blob(blob.reference, blob.digest) == len(blob.content)
    assert client().has_blob(blob.reference, Digest.of(b"other")) is None
