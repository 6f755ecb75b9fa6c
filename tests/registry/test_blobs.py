"""The folder of blobs: only proven bytes under a name, whatever happens on the way."""

import errno
import itertools
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from registry.blobs import BlobFolder
from registry.digest import Digest
from registry.errors import Corrupt, NotFound, RegistryError, StoreFull

CONTENT = bytes(range(256)) * 1200
DIGEST = Digest.of(CONTENT)


@pytest.fixture
def blobs(tmp_path: Path) -> BlobFolder:
    return BlobFolder(tmp_path / "store" / "blobs")


def partial(blobs: BlobFolder) -> Path:
    return blobs.root.with_name("blobs.ingest") / f"sha256-{DIGEST.hex}"


def store(blobs: BlobFolder, content: bytes = CONTENT) -> None:
    with blobs.ingest(DIGEST, len(CONTENT)) as ingest:
        ingest.write(content)
        ingest.commit()


def test_a_blob_is_there_once_it_is_proven(blobs: BlobFolder) -> None:
    with blobs.ingest(DIGEST, len(CONTENT)) as ingest:
        ingest.write(CONTENT)
        assert blobs.size(DIGEST) is None
        assert ingest.path.read_bytes() == CONTENT
        assert list(blobs.digests()) == []
        ingest.commit()
        assert ingest.done
        assert ingest.path == blobs.path(DIGEST)
    with blobs.open(DIGEST) as file:
        assert file.read() == CONTENT
    assert blobs.size(DIGEST) == len(CONTENT)
    assert list(blobs.digests()) == [DIGEST]
    assert not partial(blobs).exists()


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
def test_every_algorithm_has_its_folder(blobs: BlobFolder, algorithm: str) -> None:
    digest = Digest.of(b"content", algorithm)
    blobs.put(digest, b"content")
    assert (blobs.root / algorithm / digest.hex).read_bytes() == b"content"
    assert list(blobs.digests()) == [digest]


def test_what_is_there_is_not_written_again(blobs: BlobFolder) -> None:
    store(blobs)
    with blobs.ingest(DIGEST, len(CONTENT)) as ingest:
        assert ingest.done
        assert ingest.offset == len(CONTENT)
        ingest.commit()


def test_an_interrupted_ingest_is_resumed_where_it_stopped(blobs: BlobFolder) -> None:
    with blobs.ingest(DIGEST, len(CONTENT)) as ingest:
        ingest.write(CONTENT[:1234])
    with blobs.ingest(DIGEST, len(CONTENT)) as ingest:
        assert ingest.offset == 1234
        ingest.write(CONTENT[1234:])
        ingest.commit()
    assert blobs.path(DIGEST).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "wrong",
    [CONTENT[:-1], CONTENT + b"x", b"x" + CONTENT[1:], b""],
    ids=["short", "long", "damaged", "empty"],
)
def test_a_wrong_blob_is_refused_and_nothing_of_it_kept(blobs: BlobFolder, wrong: bytes) -> None:
    with pytest.raises(Corrupt, match=DIGEST.hex):
        store(blobs, wrong)
    assert blobs.size(DIGEST) is None
    assert not partial(blobs).exists()
    store(blobs)
    assert blobs.size(DIGEST) == len(CONTENT)


def test_without_a_size_the_digest_alone_decides(blobs: BlobFolder) -> None:
    with blobs.ingest(DIGEST) as ingest:
        ingest.write(CONTENT[:-1])
        with pytest.raises(Corrupt):
            ingest.commit()
    with blobs.ingest(DIGEST) as ingest:
        ingest.write(CONTENT)
        ingest.commit()
    assert blobs.size(DIGEST) == len(CONTENT)


def test_a_resumed_ingest_that_proves_damaged_is_deleted(blobs: BlobFolder) -> None:
    with blobs.ingest(DIGEST, len(CONTENT)) as ingest:
        ingest.write(b"x" + CONTENT[1:1000])
    with blobs.ingest(DIGEST, len(CONTENT)) as ingest:
        ingest.write(CONTENT[ingest.offset :])
        with pytest.raises(Corrupt):
            ingest.commit()
    with blobs.ingest(DIGEST, len(CONTENT)) as ingest:
        assert ingest.offset == 0


def test_a_partial_file_larger_than_the_blob_is_begun_anew(blobs: BlobFolder) -> None:
    with blobs.ingest(DIGEST) as ingest:
        ingest.write(CONTENT + b"more")
    with blobs.ingest(DIGEST, len(CONTENT)) as ingest:
        assert ingest.offset == 0


def test_a_blob_that_lost_its_tail_on_the_disk_is_replaced(blobs: BlobFolder) -> None:
    store(blobs)
    os.truncate(blobs.path(DIGEST), 10)
    store(blobs)
    assert blobs.path(DIGEST).read_bytes() == CONTENT


def test_restart_forgets_what_was_written(blobs: BlobFolder) -> None:
    with blobs.ingest(DIGEST, len(CONTENT)) as ingest:
        ingest.write(b"rubbish")
        ingest.restart()
        assert ingest.offset == 0
        ingest.write(CONTENT)
        ingest.commit()
    assert blobs.path(DIGEST).read_bytes() == CONTENT


def test_the_empty_blob(blobs: BlobFolder) -> None:
    empty = Digest.of(b"")
    blobs.put(empty, b"")
    assert blobs.size(empty) == 0


def test_remove_tells_what_it_freed(blobs: BlobFolder) -> None:
    store(blobs)
    assert blobs.remove(DIGEST) == len(CONTENT)
    assert blobs.remove(DIGEST) == 0
    with pytest.raises(NotFound, match=DIGEST.hex):
        blobs.open(DIGEST)


def test_files_that_are_no_blobs_are_not_listed(blobs: BlobFolder) -> None:
    store(blobs)
    (blobs.root / "sha256" / "README").write_text("not a blob")
    assert list(blobs.digests()) == [DIGEST]


def fail_after(count: int, code: int) -> Callable[[int, memoryview], int]:
    """An os.write for a disk that has room for `count` more bytes."""
    room = count
    real = os.write

    def write(fd: int, data: memoryview) -> int:
        nonlocal room
        if room == 0:
            raise OSError(code, os.strerror(code))
        written = real(fd, data[:room])
        room -= written
        return written

    return write


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_said_and_what_fitted_is_resumed(
    blobs: BlobFolder, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("registry.ingest.os.write", fail_after(5000, code))
        with pytest.raises(StoreFull), blobs.ingest(DIGEST, len(CONTENT)) as ingest:
            ingest.write(CONTENT)
    with blobs.ingest(DIGEST, len(CONTENT)) as ingest:
        assert ingest.offset == 5000
        ingest.write(CONTENT[5000:])
        ingest.commit()
    assert blobs.path(DIGEST).read_bytes() == CONTENT


def test_other_failures_of_the_disk_are_typed_too(blobs: BlobFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.ingest.os.write", fail_after(10, errno.EIO))
    with pytest.raises(RegistryError, match="Input/output error") as raised:
        store(blobs)
    assert not isinstance(raised.value, StoreFull)


def test_old_partial_files_go_and_fresh_or_held_ones_stay(blobs: BlobFolder) -> None:
    with blobs.ingest(DIGEST, len(CONTENT)) as ingest:
        ingest.write(CONTENT[:500])
    os.utime(partial(blobs), (1000, 1000))
    assert blobs.discard_partials(before=1000) == 0
    with blobs.ingest(DIGEST, len(CONTENT)):
        os.utime(partial(blobs), (1000, 1000))
        assert blobs.discard_partials(before=1001) == 0
    assert partial(blobs).exists()
    assert blobs.discard_partials(before=1001) == 500
    assert not partial(blobs).exists()


def test_threads_that_store_the_same_blob_write_it_once(blobs: BlobFolder) -> None:
    """Each thread holds the file while it writes; the others find the blob there, and none sees half of it."""
    writers: list[int] = []
    start = threading.Barrier(8)

    def ingest_it(number: int) -> None:
        start.wait()
        with blobs.ingest(DIGEST, len(CONTENT)) as ingest:
            if ingest.done:
                assert blobs.path(DIGEST).read_bytes() == CONTENT
                return
            assert ingest.offset == 0
            writers.append(number)
            for position in range(0, len(CONTENT), 10_000):
                ingest.write(CONTENT[position : position + 10_000])
            ingest.commit()

    threads = [threading.Thread(target=ingest_it, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(writers) == 1
    assert blobs.path(DIGEST).read_bytes() == CONTENT


def test_who_waited_for_a_refused_blob_begins_at_zero(blobs: BlobFolder) -> None:
    """The file that the waiting thread had opened is gone by then; it must not write into that."""
    first = blobs.ingest(DIGEST, len(CONTENT))
    first.write(b"x" * len(CONTENT))
    offsets: list[int] = []

    def second() -> None:
        with blobs.ingest(DIGEST, len(CONTENT)) as ingest:
            offsets.append(ingest.offset)
            ingest.write(CONTENT)
            ingest.commit()

    thread = threading.Thread(target=second)
    thread.start()
    with pytest.raises(Corrupt):
        first.commit()
    thread.join(30)
    assert offsets == [0]
    assert blobs.path(DIGEST).read_bytes() == CONTENT


class AnyHistory(RuleBasedStateMachine):
    """Ingests that are begun, left, damaged and finished in any order: a blob under its name is always right."""

    folder: Path

    def __init__(self) -> None:
        super().__init__()
        self.content = b"0123456789" * 3
        self.digest = Digest.of(self.content)
        self.blobs = BlobFolder(self.folder / f"{id(self)}" / "blobs")

    @rule(count=st.integers(1, 30))
    def write_and_leave(self, count: int) -> None:
        with self.blobs.ingest(self.digest, len(self.content)) as ingest:
            if not ingest.done:
                ingest.write(self.content[ingest.offset : ingest.offset + count])

    @rule(count=st.integers(1, 30))
    def write_rubbish_and_leave(self, count: int) -> None:
        with self.blobs.ingest(self.digest, len(self.content)) as ingest:
            if not ingest.done:
                ingest.write(b"x" * min(count, len(self.content) - ingest.offset))

    @rule()
    def finish(self) -> None:
        with self.blobs.ingest(self.digest, len(self.content)) as ingest:
            if not ingest.done:
                ingest.write(self.content[ingest.offset :])
                try:
                    ingest.commit()
                except Corrupt:
                    assert self.blobs.size(self.digest) in (None, 3)  # at most what the disk had harmed before

    @rule()
    def lose_the_tail(self) -> None:
        if self.blobs.size(self.digest):
            os.truncate(self.blobs.path(self.digest), 3)

    @rule()
    def remove(self) -> None:
        self.blobs.remove(self.digest)

    @invariant()
    def nothing_wrong_is_offered(self) -> None:
        with self.blobs.ingest(self.digest, len(self.content)) as ingest:
            assert not ingest.done or ingest.path.read_bytes() == self.content

    def teardown(self) -> None:
        for _ in range(2):  # what was damaged is refused once
            self.finish()
        assert self.blobs.path(self.digest).read_bytes() == self.content


def test_any_history_of_ingests_ends_right(tmp_path: Path) -> None:
    class Here(AnyHistory):
        folder = tmp_path

    run_state_machine_as_test(Here, settings=settings(max_examples=40, stateful_step_count=12, deadline=None))


@given(cuts=st.lists(st.integers(0, 200), max_size=5))
@settings(max_examples=30, deadline=None)
def test_any_pieces_make_the_same_blob(tmp_path_factory: pytest.TempPathFactory, cuts: list[int]) -> None:
    content = CONTENT[:200]
    digest = Digest.of(content)
    blobs = BlobFolder(tmp_path_factory.mktemp("pieces") / "blobs")
    edges = sorted({0, 200, *cuts})
    for begin, end in itertools.pairwise(edges):
        with blobs.ingest(digest, 200) as ingest:
            assert ingest.offset == begin
            ingest.write(content[begin:end])
            if end == 200:
                ingest.commit()
    assert blobs.path(digest).read_bytes() == content
