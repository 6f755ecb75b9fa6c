"""What the readers of a growing blob see of it, and when."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from proxy.shield.fetch import Fetch, FollowingBody
from proxy.span import Span
from registry.digest import Digest
from registry.errors import Corrupt, RegistryError, StoreFull

BLOB = b"0123456789"


@pytest.fixture
def fetch(tmp_path: Path) -> Fetch:
    """All bytes are written, none is proven."""
    path = tmp_path / "partial"
    path.write_bytes(BLOB)
    under_way = Fetch(Digest.of(BLOB))
    under_way.answered(len(BLOB), path.open("rb"), 0)
    under_way.advanced(len(BLOB))
    return under_way


def body(fetch: Fetch, span: Span = Span(0, 10)) -> FollowingBody:  # noqa: B008  a frozen value
    file = fetch.follow(sized=True)
    assert file
    return FollowingBody(fetch, file, span, lambda rest: iter([BLOB[rest.start : rest.stop].upper() + b"!"]))


def test_the_last_byte_is_not_shown_before_the_proof(fetch: Fetch) -> None:
    assert fetch.beyond(0) == 9
    pieces = iter(body(fetch))
    assert next(pieces) == BLOB[:9]
    with ThreadPoolExecutor(1) as pool:
        last = pool.submit(next, pieces)
        assert not last.done()
        fetch.finished(10)
        assert last.result(10) == b"9"


def test_readers_of_a_blob_that_proves_wrong_never_get_its_end(fetch: Fetch) -> None:
    pieces = iter(body(fetch))
    assert next(pieces) == BLOB[:9]
    fetch.failed(Corrupt("wrong"))
    with pytest.raises(Corrupt):
        next(pieces)


@pytest.mark.parametrize("truncated", [False, True])
def test_what_the_disk_did_not_take_comes_from_elsewhere(fetch: Fetch, tmp_path: Path, truncated: bool) -> None:
    following = body(fetch, Span(2, 10))
    pieces = iter(following)
    if truncated:
        os.truncate(tmp_path / "partial", 0)
    else:
        assert next(pieces) == BLOB[2:9]
        fetch.failed(StoreFull("no room"))
    assert b"".join(pieces) == (b"23456789!" if truncated else b"9!")
    following.close()


@pytest.mark.parametrize("error", [Corrupt("wrong"), StoreFull("no room")])
def test_who_comes_too_late_is_told_how_it_ended(error: RegistryError) -> None:
    ended = Fetch(Digest.of(BLOB))
    ended.failed(error)
    with pytest.raises(type(error)):
        ended.follow(sized=True)
    kept = Fetch(Digest.of(BLOB))
    kept.finished(10)
    assert kept.follow(sized=True) is None
