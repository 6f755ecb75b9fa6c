"""A content-addressed folder of blobs on disk, and the only way into it: the Ingest.

A blob is under its name only after its size and digest were proven, so whatever is in the folder may be served. What
arrives is written to a partial file named by the digest, in a folder beside (`<root>.ingest`), under an exclusive
flock that threads and processes respect alike. Whoever dies in the middle leaves a partial file that a later ingest
resumes.
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from registry.digest import HEX_LENGTH, Digest, InvalidDigest
from registry.errors import Corrupt, NotFound, RegistryError, StoreFull

PIECE = 1 << 20
"""Bytes read at once: large pieces keep Python out of the way (hashing and I/O release the GIL)."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class Ingest:
    """One blob on its way into a BlobFolder; get it from `BlobFolder.ingest` and use it in a `with`.

    `offset` is the number of bytes that are there, at first those of an interrupted ingest. `done` says that the blob
    is in the folder: then there is nothing to write. `path` is where the bytes are now, so that others may read what
    is written so far. Leaving without `commit` keeps the partial file for a later resume.
    """

    def __init__(self, final: Path, partial: Path, digest: Digest, size: int | None) -> None:
        self.digest = digest
        self.size = size
        self.offset = 0
        self.done = False
        self._final = final
        self._partial = partial
        self._hasher = digest.hasher()
        self._fd = -1
        try:
            with _typed(digest):
                self._open()
        except BaseException:
            self.close()
            raise

    @property
    def path(self) -> Path:
        """The partial file; once `done`, the blob's."""
        return self._final if self.done else self._partial

    def write(self, piece: bytes | memoryview) -> None:
        """Append `piece`; raises StoreFull, and Corrupt (nothing is kept) when it goes beyond the blob's size."""
        if self.size is not None and self.offset + len(piece) > self.size:
            self._refuse(f"blob {self.digest} has more than its {self.size} bytes")
        rest = memoryview(piece)
        with _typed(self.digest):
            while rest:
                written = os.write(self._fd, rest)
                self._hasher.update(rest[:written])
                self.offset += written
                rest = rest[written:]

    def restart(self) -> None:
        """Forget the bytes that are there and begin at zero."""
        with _typed(self.digest):
            os.ftruncate(self._fd, 0)
            os.lseek(self._fd, 0, os.SEEK_SET)
        self._hasher = self.digest.hasher()
        self.offset = 0

    def commit(self) -> None:
        """Prove size and digest, then put the blob under its name, durably.

        Raises Corrupt (then nothing is kept) and StoreFull.
        """
        if self.done:
            return
        if self.size is not None and self.offset != self.size:
            self._refuse(f"blob {self.digest} came with {self.offset} bytes instead of {self.size}")
        if not self.digest.matches(self._hasher):
            self._refuse(f"{self.offset} bytes that came as blob {self.digest} have another digest")
        with _typed(self.digest):
            os.fsync(self._fd)
            make_folder(self._final.parent)
            self._partial.replace(self._final)
            sync_folder(self._final.parent)
        self.done = True
        self.close()

    def close(self) -> None:
        """Let the next one in. Safe to call again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> None:
        make_folder(self._partial.parent)
        while not self._is_there():
            self._fd = os.open(self._partial, os.O_RDWR | os.O_CREAT, 0o644)
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            if not _is_file(self._fd, self._partial):  # it was committed or refused while this one waited
                self.close()
                continue
            if self._is_there():
                self._partial.unlink()
                break
            self._resume()
            return
        self.done = True
        self.offset = self._final.stat().st_size
        self.close()

    def _is_there(self) -> bool:
        """A blob whose size is wrong (a disk that lost its tail) does not count, and is replaced."""
        size = _size(self._final)
        return size is not None and self.size in (None, size)

    def _resume(self) -> None:
        while piece := os.read(self._fd, PIECE):
            self._hasher.update(piece)
            self.offset += len(piece)
        if self.size is not None and self.offset > self.size:
            self.restart()

    def _refuse(self, message: str) -> None:
        self._partial.unlink(missing_ok=True)
        self.close()
        raise Corrupt(message)


class BlobFolder:
    """Blobs as `root/<algorithm>/<hex>`; the parent of `root` must be on the same file system, and writable."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._partials = root.with_name(f"{root.name}.ingest")

    def path(self, digest: Digest) -> Path:
        """Where this blob is, or would be."""
        return self.root / digest.algorithm / digest.hex

    def size(self, digest: Digest) -> int | None:
        """The blob's size in bytes; None when it is not there."""
        return _size(self.path(digest))

    def open(self, digest: Digest) -> BinaryIO:
        """The blob for reading; raises NotFound."""
        try:
            return self.path(digest).open("rb")
        except FileNotFoundError as error:
            raise NotFound(f"blob {digest} is not in the store") from error

    def digests(self) -> Iterator[Digest]:
        """Every blob that is there, in no order."""
        for algorithm in HEX_LENGTH:
            with suppress(FileNotFoundError), os.scandir(self.root / algorithm) as entries:
                for entry in entries:
                    with suppress(InvalidDigest):
                        yield Digest.parse(f"{algorithm}:{entry.name}")

    def ingest(self, digest: Digest, size: int | None = None) -> Ingest:
        """Begin or resume to store a blob of `size` bytes.

        Waits while another thread or process ingests the same digest. Raises StoreFull.
        """
        return Ingest(self.path(digest), self._partials / f"{digest.algorithm}-{digest.hex}", digest, size)

    def put(self, digest: Digest, content: bytes) -> None:
        """Store a small blob, such as a manifest, whose bytes are at hand; raises Corrupt, StoreFull."""
        with self.ingest(digest, len(content)) as ingest:
            if not ingest.done:
                ingest.restart()
                ingest.write(content)
                ingest.commit()

    def remove(self, digest: Digest) -> int:
        """Delete a blob; the bytes that this frees, 0 when it was not there."""
        size = self.size(digest)
        if size is None:
            return 0
        self.path(digest).unlink(missing_ok=True)
        return size

    def discard_partials(self, before: float) -> int:
        """Delete interrupted ingests last written before `before` (Unix time) that nobody holds; the bytes freed."""
        if not self._partials.is_dir():
            return 0
        return sum(_discard(path, before) for path in self._partials.iterdir())


def make_folder(path: Path) -> None:
    """Make a folder and its parents so that they survive a power cut."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make the names in a folder survive a power cut."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _discard(path: Path, before: float) -> int:
    try:
        fd = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return 0
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        seen = os.fstat(fd)
        if seen.st_mtime >= before or not _is_file(fd, path):
            return 0
        path.unlink()
    except BlockingIOError:  # somebody is writing it
        return 0
    finally:
        os.close(fd)
    return seen.st_size


def _is_file(fd: int, path: Path) -> bool:
    """Whether `path` still names the open file `fd`."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


@contextmanager
def _typed(digest: Digest) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StoreFull(f"no room left to store blob {digest}") from error
        raise RegistryError(f"cannot store blob {digest}: {error.strerror}") from error
