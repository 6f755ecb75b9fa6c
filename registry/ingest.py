"""The only way into a BlobFolder: bytes are written beside it and proven before they get their name.

What arrives is written to a partial file named by the digest, under an exclusive flock that threads and processes
respect alike. Whoever dies in the middle leaves a partial file that a later ingest resumes.
"""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from registry.digest import Digest
from registry.durable import file_size, make_folder, names_file, storing, sync_folder
from registry.errors import Corrupt, RegistryError

PIECE = 1 << 20
"""Bytes read at once: large pieces keep Python out of the way (hashing and I/O release the GIL)."""


class Held(Exception):
    """Another thread or process ingests the blob now, and this one was not to wait."""


class Ingest:
    """One blob on its way into a BlobFolder; get it from `BlobFolder.ingest` and use it in a `with`.

    `offset` is the number of bytes that are there, at first those of an interrupted ingest. `done` says that the blob
    is in the folder: then there is nothing to write. `path` is where the bytes are now, so that others may read what
    is written so far. Leaving without `commit` keeps the partial file for a later resume. Unless it is to `wait` for
    whoever ingests the blob now, it raises Held.
    """

    def __init__(self, final: Path, partial: Path, digest: Digest, size: int | None, *, wait: bool = True) -> None:
        self.digest = digest
        self.size = size
        self.offset = 0
        self.done = False
        self._final = final
        self._partial = partial
        self._hasher = digest.hasher()
        self._fd = -1
        self._lock = fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB)
        try:
            with storing(f"blob {digest}"):
                self._open()
        except RegistryError as error:
            self.close()
            if isinstance(error.__cause__, BlockingIOError):
                raise Held from None
            raise
        except BaseException:
            self.close()
            raise

    @property
    def path(self) -> Path:
        """The partial file; once `done`, the blob's."""
        return self._final if self.done else self._partial

    def announce(self, size: int) -> None:
        """Say how many bytes the blob will have, also to other processes that read what is written so far.

        Where the disk takes no such note they wait for the end instead.
        """
        self.size = size
        with suppress(OSError):
            note = announcement(self._partial)
            if _number(note) != size:
                note.write_text(str(size))

    def write(self, piece: bytes | memoryview) -> None:
        """Append `piece`; raises StoreFull, and Corrupt (nothing is kept) when it goes beyond the blob's size."""
        if self.size is not None and self.offset + len(piece) > self.size:
            self._refuse(f"blob {self.digest} has more than its {self.size} bytes")
        rest = memoryview(piece)
        with storing(f"blob {self.digest}"):
            while rest:
                written = os.write(self._fd, rest)
                self._hasher.update(rest[:written])
                self.offset += written
                rest = rest[written:]

    def restart(self) -> None:
        """Forget the bytes that are there and begin at zero."""
        with storing(f"blob {self.digest}"):
            announcement(self._partial).unlink(missing_ok=True)
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
        with storing(f"blob {self.digest}"):
            os.fsync(self._fd)
            make_folder(self._final.parent)
            self._partial.replace(self._final)
            sync_folder(self._final.parent)
        self.done = True
        announcement(self._partial).unlink(missing_ok=True)
        self.close()

    def discard(self) -> None:
        """Delete what came so far, which proved wrong, and let the next one begin at zero."""
        if self._fd >= 0:
            self._partial.unlink(missing_ok=True)
            announcement(self._partial).unlink(missing_ok=True)
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
            fcntl.flock(self._fd, self._lock)
            if not names_file(self._partial, self._fd):  # it was committed or refused while this one waited
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
        size = file_size(self._final)
        return size is not None and self.size in (None, size)

    def _resume(self) -> None:
        while piece := os.read(self._fd, PIECE):
            self._hasher.update(piece)
            self.offset += len(piece)
        if self.size is not None and self.offset > self.size:
            self.restart()

    def _refuse(self, message: str) -> None:
        self.discard()
        raise Corrupt(message)


ANNOUNCED = ".size"
"""The end of the name of a note beside a partial file: how many bytes the whole will have."""


def announcement(partial: Path) -> Path:
    """Where the note about a partial file is, or would be."""
    return partial.with_name(partial.name + ANNOUNCED)


def announced(partial: Path) -> int | None:
    """How many bytes the blob of a partial file will have; None while nobody has said so."""
    return _number(announcement(partial))


def _number(note: Path) -> int | None:
    try:
        text = note.read_text()
    except OSError:
        return None
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 20 else None


def discard_partial(path: Path, before: float) -> int:
    """Delete a partial file last written before `before` (Unix time) that nobody holds; the bytes freed."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return 0
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        seen = os.fstat(fd)
        if seen.st_mtime >= before or not names_file(path, fd):
            return 0
        path.unlink()
        announcement(path).unlink(missing_ok=True)
    except BlockingIOError:  # somebody is writing it
        return 0
    finally:
        os.close(fd)
    return seen.st_size
