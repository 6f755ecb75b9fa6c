"""Errors of a moment ago, told again without asking: what is not there, and what came damaged."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from registry.errors import RegistryError

K = TypeVar("K", bound=Hashable)
DAMAGE = 5.0
"""Seconds for which who comes back for the rest of a damaged blob is told so."""
ABSENCE = 5.0
"""Seconds for which upstream's 404 or 401 is told again: what is pushed meanwhile is found no later than that."""
_REMEMBERED = 1000


class Lately(Generic[K]):
    """The last error by key, for `seconds`; threads share it. `clock` is monotonic."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seconds = seconds
        self._lock = threading.Lock()
        self._found: OrderedDict[K, tuple[RegistryError, float]] = OrderedDict()

    def note(self, key: K, error: RegistryError) -> None:
        """It happened now."""
        with self._lock:
            self._found[key] = (error, self._clock() + self._seconds)
            self._found.move_to_end(key)
            while len(self._found) > _REMEMBERED:
                self._found.popitem(last=False)

    def check(self, key: K) -> None:
        """Raise the error when it happened a moment ago."""
        with self._lock:
            error, until = self._found.get(key, (None, 0.0))
            if error is None:
                return
            if self._clock() >= until:
                del self._found[key]
                return
        raise type(error)(str(error))
