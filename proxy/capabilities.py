"""The node proxy's own check of capabilities: what is private is not there without the right one."""

import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from proxy.path import Route
from registry.capability import opens
from registry.errors import NotFound, RegistryError

NAMES = ("current", "previous")
"""The keys of Secret kuik-capability, and so the files of its volume: while a key is changed, both are good."""
_LOOK_EVERY = 1.0
_LONGEST_KEY = 4096

Keys = Callable[[], Iterable[bytes]]
_State = tuple[tuple[int, int, int] | None, ...]


class KeyFiles:
    """The keys in a folder, read again once they change; threads share it. `clock` is monotonic, in seconds.

    A folder that cannot be read, or holds no key at all, changes nothing: the keys of before are used on.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._clock = clock
        self._lock = threading.Lock()
        self._looked = float("-inf")
        self._state: _State = ()
        self._keys: tuple[bytes, ...] = ()

    def __call__(self) -> tuple[bytes, ...]:
        """The keys that open: none while none was ever there."""
        now = self._clock()
        with self._lock:
            if now - self._looked >= _LOOK_EVERY:
                self._looked = now
                self._read()
            return self._keys

    def _read(self) -> None:
        state = tuple(self._stat(name) for name in NAMES)
        if state == self._state:
            return
        keys = tuple(key for key in (self._key(name) for name in NAMES) if key)
        if keys:
            self._state, self._keys = state, keys

    def _stat(self, name: str) -> tuple[int, int, int] | None:
        try:
            found = (self._folder / name).stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size

    def _key(self, name: str) -> bytes:
        try:
            with (self._folder / name).open("rb") as file:
                return file.read(_LONGEST_KEY).strip()
        except OSError:
            return b""


def no_keys() -> Iterable[bytes]:
    """Nothing private is served."""
    return ()


def check(route: Route, keys: Keys) -> None:
    """Return for what is public, and for what is private where its capability opens it; else raise NotFound.

    The words are the same whatever is there or not, so that nobody learns by asking which repositories exist.
    """
    if not route.private:
        return
    if not route.capability or not opens(route.capability, route.reference, keys()):
        raise NotFound("there is no such image here")


def discreet(error: RegistryError, route: Route) -> RegistryError:
    """The refusal as a pod may read it: the shield's words name the pull secrets of all namespaces that use the image.

    They are in the shield's log and in the message of the CachedImage.
    """
    if not route.private:
        return error
    told = "upstream has no such image" if isinstance(error, NotFound) else "no pull secret in use opens it upstream"
    return type(error)(f"{route}: {told}; its CachedImage says more")
