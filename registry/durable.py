"""Files that survive a power cut and are shared by threads and processes: folders, whole-file writes, locks."""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from registry.errors import RegistryError, StoreFull

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_LOOK_SECONDS = 0.02


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


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file so that readers see either all of the old bytes or all of the new ones.

    One writer at a time: hold a lock. The new file's time is always later than the old one's, so that a reader who
    remembers the time never misses a change, however coarse the clock of the file system is.
    """
    fresh = path.with_name(f".{path.name}.new")
    try:
        with fresh.open("wb") as file:
            file.write(content)
            file.flush()
            with suppress(FileNotFoundError):
                _set_later(file.fileno(), path.stat().st_mtime_ns)
            os.fsync(file.fileno())
    except OSError:
        with suppress(OSError):
            fresh.unlink()  # the part that a full disk took keeps others from their room
        raise
    fresh.replace(path)
    sync_folder(path.parent)


@contextmanager
def locked(path: Path, *, exclusive: bool, within: float | None = None) -> Iterator[None]:
    """Hold a lock on the file `path`, shared or exclusive, against threads and processes alike.

    Waits for as long as it takes, or raises BlockingIOError when it is held otherwise `within` so many seconds.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _lock(fd, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH, within)
        yield
    finally:
        os.close(fd)


def _lock(fd: int, how: int, within: float | None) -> None:
    if within is None:
        fcntl.flock(fd, how)
        return
    until = time.monotonic() + within
    while True:
        try:
            fcntl.flock(fd, how | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise
            time.sleep(_LOOK_SECONDS)
        else:
            return


@contextmanager
def storing(what: str) -> Iterator[None]:
    """Give a failure of the file system its type: StoreFull, or RegistryError with the system's words."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StoreFull(f"no room left to store {what}") from error
        raise RegistryError(f"cannot store {what}: {error.strerror or error}") from error


def names_file(path: Path, fd: int) -> bool:
    """Whether `path` still names the open file `fd`."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def file_size(path: Path) -> int | None:
    """Bytes in a file; None when there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _set_later(fd: int, than: int) -> None:
    now = os.fstat(fd).st_mtime_ns
    if now <= than:
        os.utime(fd, ns=(than + 1, than + 1))
