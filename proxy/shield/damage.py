"""Blobs that came damaged a moment ago: who comes back for the rest of one is told so."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from registry.digest import Digest
from registry.errors import Corrupt

SECONDS = 5.0
_REMEMBERED = 1000


class RecentDamage:
    """Digests whose last fetch ended in Corrupt; threads share it. `clock` is monotonic.

    A reader in mid-blob only sees its connection close; when it comes back for the rest it learns here why. Who begins
    anew is not concerned: upstream may have mended it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, seconds: float = SECONDS) -> None:
        self._clock = clock
        self._seconds = seconds
        self._lock = threading.Lock()
        self._found: OrderedDict[Digest, tuple[Corrupt, float]] = OrderedDict()

    def note(self, digest: Digest, error: Corrupt) -> None:
        """The blob came damaged now."""
        with self._lock:
            self._found[digest] = (error, self._clock() + self._seconds)
            self._found.move_to_end(digest)
            while len(self._found) > _REMEMBERED:
                self._found.popitem(last=False)

    def check(self, digest: Digest) -> None:
        """Raise Corrupt when the blob came damaged a moment ago."""
        with self._lock:
            error, until = self._found.get(digest, (None, 0.0))
            if error is None:
                return
            if self._clock() < until:
                raise Corrupt(str(error))
            del self._found[digest]
