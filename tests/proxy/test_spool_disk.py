"""A disk that is really full, and content that was on the disk at the start."""

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from proxy.path import Kind, Route
from proxy.shield.origin import Shield
from proxy.shield.spool import Spool
from proxy.sources.message import Request
from proxy.span import ByteRange
from registry.blobs import BlobFolder
from registry.digest import Digest
from registry.errors import Corrupt
from tests.rig import faulty, reader
from tests.rig.faulty import Relay
from tests.rig.images import BuiltImage, image
from tests.rig.processes import wait_until
from tests.rig.upstream import Upstream

BUILT: BuiltImage = image("on a small disk", layers=4, layer_size=400_000)
LAYERS = [(digest, blob) for digest, blob in BUILT.blobs.items() if len(blob) > 300_000]
BLOBS = "/blobs/"
DISK = 1 << 20


@pytest.fixture
def relay(upstream: Upstream) -> Iterator[Relay]:
    upstream.push(BUILT, "team/app", "1")
    with Relay(upstream.host) as between:
        yield between


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)], check=False)
    if made.returncode:
        pytest.skip("may not mount a file system here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def make(folder: Path, size: int = 1 << 30, proven_first: int = 0) -> Shield:
    spool = Spool(BlobFolder(folder / "spool"), size, proven_first=proven_first)
    return Shield(reader.client(), spool)


def blob_of(relay: Relay, digest: Digest, wanted: ByteRange | None = None) -> Request:
    return Request(Route(relay.host, "team/app", Kind.BLOB, str(digest)), range=wanted)


def pulled(shield: Shield, request: Request) -> bytes:
    with closing(shield.fetch(request).body) as body:
        return b"".join(body)


@pytest.mark.needs("mount")
def test_a_disk_smaller_than_the_spool_was_set_to_keeps_what_was_used_last(relay: Relay, small_disk: Path) -> None:
    shield = make(small_disk)
    for digest, blob in LAYERS:
        assert pulled(shield, blob_of(relay, digest)) == blob
    assert [digest for digest in shield.spool.digests() if digest == LAYERS[-1][0]]
    assert 0 < len(shield.spool.digests()) <= 2


@pytest.mark.needs("mount")
def test_a_disk_that_others_filled_is_a_miss_at_any_moment(relay: Relay, small_disk: Path) -> None:
    shield = make(small_disk)
    filling = small_disk / "of others"
    for room in (0, 4096, 100_000, 399_000):
        filling.write_bytes(b"x" * max(os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize - room, 0))
        for digest, blob in LAYERS:
            assert pulled(shield, blob_of(relay, digest)) == blob
        manifest = Request(Route(relay.host, "team/app", Kind.MANIFEST, str(BUILT.digest)))
        assert pulled(shield, manifest) == BUILT.raw
        filling.unlink()
    assert pulled(shield, blob_of(relay, LAYERS[0][0])) == LAYERS[0][1]
    assert LAYERS[0][0] in shield.spool.digests()


@pytest.mark.needs("mount")
def test_a_disk_that_fills_up_in_the_middle_breaks_no_pull(relay: Relay, small_disk: Path) -> None:
    digest, blob = LAYERS[0]
    shield, filling = make(small_disk), small_disk / "of others"
    go_on = threading.Event()
    relay.rule(faulty.hold(go_on, after=100_000), path=BLOBS)
    answer = shield.fetch(blob_of(relay, digest))
    pieces = iter(answer.body)
    beginning = next(pieces)
    filling.write_bytes(b"x" * (os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize))
    go_on.set()
    assert beginning + b"".join(pieces) == blob
    answer.body.close()
    assert shield.spool.digests() == ()
    assert sum(file.stat().st_size for file in (small_disk / "spool.ingest").iterdir()) == 0


def test_large_content_from_before_the_start_is_served_while_it_is_hashed(
    relay: Relay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest, blob = LAYERS[0]
    pulled(make(tmp_path), blob_of(relay, digest))
    relay.requests.clear()
    may_prove, prove = threading.Event(), Spool.prove

    def late(*arguments: object) -> None:
        assert may_prove.wait(20)
        prove(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Spool, "prove", late)
    shield = make(tmp_path)
    pieces = iter(shield.fetch(blob_of(relay, digest)).body)
    early = next(pieces)
    while len(early) < len(blob) - 1:
        early += next(pieces)
    assert early == blob[:-1]
    assert pulled(shield, blob_of(relay, digest, ByteRange(399_000, 399_009))) == blob[399_000:399_010]
    may_prove.set()
    assert early + b"".join(pieces) == blob
    wait_until(lambda: shield.spool.open(digest) is not None, "it is proven")
    assert relay.requests == []


def test_large_content_that_was_damaged_is_dropped_and_never_served_whole(relay: Relay, tmp_path: Path) -> None:
    digest, blob = LAYERS[0]
    pulled(make(tmp_path), blob_of(relay, digest))
    path = BlobFolder(tmp_path / "spool").path(digest)
    path.write_bytes(blob[:-1] + bytes([blob[-1] ^ 1]))
    shield = make(tmp_path)
    with pytest.raises(Corrupt):
        pulled(shield, blob_of(relay, digest))
    assert pulled(shield, blob_of(relay, digest)) == blob
    # What can be hashed in a moment costs nobody a broken transfer.
    path.write_bytes(blob[:-1] + bytes([blob[-1] ^ 1]))
    assert pulled(make(tmp_path, proven_first=1 << 20), blob_of(relay, digest)) == blob


def test_a_broken_transfer_of_before_the_start_shows_what_it_has_before_upstream_answers(
    relay: Relay, tmp_path: Path
) -> None:
    digest, blob = LAYERS[0]
    with BlobFolder(tmp_path / "spool").ingest(digest) as ingest:
        ingest.announce(len(blob))
        ingest.write(blob[:200_000])
    go_on = threading.Event()
    relay.rule(faulty.hold(go_on), path=BLOBS)
    shield = make(tmp_path)
    pieces = iter(shield.fetch(blob_of(relay, digest)).body)
    beginning = next(pieces)
    assert beginning == blob[: len(beginning)]
    go_on.set()
    assert beginning + b"".join(pieces) == blob
    assert [seen.headers.get("Range") for seen in relay.requests] == ["bytes=200000-"]
