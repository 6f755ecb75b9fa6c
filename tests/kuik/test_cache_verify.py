"""`kuik cache verify`: what is damaged is found, put aside, and copied anew by the next run."""

import json
import time
from pathlib import Path

from registry.blobs import BlobFolder
from registry.digest import Digest
from registry.proof import prove, put_aside
from tests.rig.images import multi_platform
from tests.rig.kuik import kuik
from tests.rig.manifests import deployment, write
from tests.rig.upstream import Upstream


def flip(path: Path) -> None:
    """Turn one bit of a file, as a disk does: neither size nor time tells of it."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_what_is_damaged_or_lost_is_told_put_aside_and_comes_back(upstream: Upstream, tmp_path: Path) -> None:
    built, store = multi_platform("one"), tmp_path / "store"
    name = upstream.push(built, "a/one", "1")
    pods = write(tmp_path / "pods.yaml", deployment("one", name))
    run = ("run", pods, "--store", str(store), "--plain-http", upstream.host, "--once")
    assert kuik(*run).returncode == 0

    def path(digest: Digest) -> Path:
        return store / "blobs" / digest.algorithm / digest.hex

    def verify() -> tuple[int, dict[str, str]]:
        done = kuik("cache", "verify", "--store", str(store), "-o", "json")
        rows = json.loads(done.stdout)
        assert all(row["images"] == [name] for row in rows if row["blob"] == str(built.digest))
        return done.returncode, {row["blob"]: row["problem"] for row in rows}

    flipped, short, lost, unreadable = list(built.blobs)[:4]
    flip(path(flipped))
    flip(path(built.digest))
    path(short).write_bytes(path(short).read_bytes()[:-1])
    path(lost).unlink()
    path(unreadable).unlink()
    path(unreadable).mkdir()  # reading gives EISDIR, for root as well
    code, told = verify()
    assert code == 1
    assert {str(flipped), str(short), str(unreadable), str(built.digest)} <= told.keys()
    assert told[str(unreadable)].startswith("cannot be read")
    assert not path(flipped).exists()
    assert (store / "blobs.damaged" / f"sha256-{flipped.hex}").exists()
    assert kuik(*run).returncode == 0
    assert verify() == (0, {})
    assert path(lost).exists()


def test_what_was_replaced_by_proven_bytes_while_it_was_read_stays(tmp_path: Path) -> None:
    blobs, content = BlobFolder(tmp_path / "blobs"), b"x" * 3000
    digest = Digest.of(content)
    blobs.put(digest, content)
    flip(blobs.path(digest))

    def healed(_count: int) -> None:
        fresh = tmp_path / "fresh"
        fresh.write_bytes(content)
        fresh.replace(blobs.path(digest))

    assert prove(blobs, digest, healed) is None
    assert prove(blobs, digest) is None


def test_damaged_bytes_stay_for_a_day(tmp_path: Path) -> None:
    blobs, digest = BlobFolder(tmp_path / "blobs"), Digest.of(b"content")
    blobs.put(digest, b"content")
    flip(blobs.path(digest))
    damage = prove(blobs, digest)
    assert damage is not None
    assert put_aside(blobs, damage)
    assert not put_aside(blobs, damage)
    assert blobs.discard_damaged(time.time() - 3600) == 0
    assert blobs.discard_damaged(time.time() + 3600) == len(b"content")
