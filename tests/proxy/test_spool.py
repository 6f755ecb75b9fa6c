"""The bounded disk of the shield."""

import os
from pathlib import Path

from proxy.shield.spool import Spool
from registry.blobs import BlobFolder
from registry.digest import Digest

A, B, C = (letter * 100 for letter in (b"a", b"b", b"c"))


def spool(folder: Path, size: int = 250) -> Spool:
    return Spool(BlobFolder(folder / "spool"), size)


def read(spooled: Spool, content: bytes) -> bytes | None:
    file = spooled.open(Digest.of(content))
    if file is None:
        return None
    with file:
        return file.read()


def put(spooled: Spool, *contents: bytes) -> None:
    for content in contents:
        spooled.put(Digest.of(content), content)


def test_the_least_recently_used_leaves_and_who_reads_it_reads_on(tmp_path: Path) -> None:
    spooled = spool(tmp_path)
    put(spooled, A, B)
    reading = spooled.open(Digest.of(B))
    assert reading
    assert read(spooled, A) == A
    put(spooled, C)
    assert (read(spooled, A), read(spooled, B), read(spooled, C)) == (A, None, C)
    with reading:
        assert reading.read() == B
    assert spooled.used == 200


def test_what_is_promised_counts_and_what_cannot_fit_is_refused(tmp_path: Path) -> None:
    spooled = spool(tmp_path)
    put(spooled, A)
    assert spooled.reserve(Digest.of(B), 200)
    assert read(spooled, A) is None
    assert not spooled.reserve(Digest.of(C), 100)
    put(spooled, C)
    assert read(spooled, C) is None
    spooled.settled(Digest.of(B))
    put(spooled, C)
    assert read(spooled, C) == C


def test_a_restart_finds_what_was_there_in_the_order_of_use_and_within_bounds(tmp_path: Path) -> None:
    before = spool(tmp_path)
    put(before, A, B)
    for age, content in enumerate((A, B)):
        os.utime(tmp_path / "spool" / "sha256" / Digest.of(content).hex, (1000 - age, 1000 - age))
    after = spool(tmp_path, 150)
    assert after.digests() == (Digest.of(A),)
    assert read(after, A) == A


def test_what_was_damaged_while_nobody_looked_is_found_and_dropped(tmp_path: Path) -> None:
    put(spool(tmp_path), A, B)
    path = tmp_path / "spool" / "sha256" / Digest.of(A).hex
    path.write_bytes(b"x" + A[1:])
    after = spool(tmp_path)
    assert (read(after, A), read(after, B)) == (None, B)
    assert not path.exists()


def test_a_disk_that_takes_nothing_is_a_miss(tmp_path: Path) -> None:
    (tmp_path / "spool.ingest").write_text("not a folder")
    spooled = spool(tmp_path)
    put(spooled, A)
    assert read(spooled, A) is None


def test_drop_and_clear_free_the_bytes(tmp_path: Path) -> None:
    spooled = spool(tmp_path)
    put(spooled, A, B)
    assert spooled.drop([Digest.of(A), Digest.of(C)]) == 100
    assert spooled.clear() == 100
    assert (spooled.used, spooled.digests(), read(spooled, B)) == (0, (), None)
