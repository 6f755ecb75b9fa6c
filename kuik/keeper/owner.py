"""Which keeper has a volume: one at a time, also where the volume has no room left for a file that says so."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from registry.durable import locked, make_folder, storing
from registry.errors import StoreFull

_LOCK = "keeper.lock"
_CANNOT = frozenset({errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.EOPNOTSUPP, errno.EACCES})
"""What file systems say that lock files alone, as NFS does."""


class Owner:
    """The lock of the volume on which keepers remember things in `folder`.

    It is a file in that folder. Where there is no room to make it, it is the folder around: so whoever has the file
    looks whether somebody has that.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held = ExitStack()
        self._ours = False

    def own(self) -> bool:
        """Have the volume as long as this process lives; False while another has it. Raises RegistryError."""
        if not self._ours:
            try:
                self._ours = self._take()
            except BlockingIOError:
                self._ours = False
            if not self._ours:
                self._held.close()
        return self._ours

    def release(self) -> None:
        """Let another have it."""
        self._held.close()
        self._ours = False

    def _take(self) -> bool:
        try:
            with storing("which keeper has this volume"):
                make_folder(self._folder)
                (self._folder / _LOCK).touch()
        except StoreFull:
            self._held.enter_context(_folder_locked(self._folder.parent, fcntl.LOCK_EX))
            return not (self._folder / _LOCK).exists()  # another made it meanwhile, and may not have seen this one
        self._held.enter_context(locked(self._folder / _LOCK, exclusive=True, within=0))
        with _folder_locked(self._folder.parent, fcntl.LOCK_SH):
            return True


@contextmanager
def _folder_locked(folder: Path, how: int) -> Iterator[None]:
    """Raises BlockingIOError where another has it; where folders cannot be locked nobody has."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(fd, how | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _CANNOT:
                raise
        yield
    finally:
        os.close(fd)
