"""Turns among processes that share a folder, as in the overlap of an upgrade: one asks, and the others wait for it."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path

from registry.durable import make_folder

PATIENCE = 10.0
"""Seconds after which the other process is taken to hang, and is waited for no longer."""
_LOOK_EVERY = 0.02


class Processes:
    """File locks in `folder`, one for each of 4096 parts of all keys. Where the disk takes none, nobody waits."""

    def __init__(self, folder: Path, sleep: Callable[[float], None] = time.sleep, patience: float = PATIENCE) -> None:
        self._folder = folder
        self._sleep = sleep
        self._patience = patience

    @contextmanager
    def turn(self, key: str) -> Iterator[bool]:
        """Hold the turn for `key`; says whether somebody else had it before, and so may have done what is wanted."""
        fd = self._opened(key)
        try:
            yield self._waited(fd) if fd >= 0 else False
        finally:
            if fd >= 0:
                os.close(fd)

    def _opened(self, key: str) -> int:
        name = blake2b(key.encode(), digest_size=2).hexdigest()[:3]
        with suppress(OSError):
            make_folder(self._folder)
            return os.open(self._folder / name, os.O_RDWR | os.O_CREAT, 0o644)
        return -1

    def _waited(self, fd: int) -> bool:
        for looks in range(int(self._patience / _LOOK_EVERY)):
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._sleep(_LOOK_EVERY)
            except OSError:
                return False
            else:
                return looks > 0
        return True
