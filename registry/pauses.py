"""Registries that asked to be left alone for a while (429, RFC 6585, 4): until then they are not asked."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping

from registry.credentials import Credentials
from registry.errors import RateLimited
from registry.failures import retry_after

UNTOLD = 5.0
"""Seconds for which a registry is left alone that does not say for how long."""
LONGEST = 300.0
"""Seconds for which one is left alone at most, though it may say hours: kubelet tries a pod whose image nobody else has
every five minutes, quotas are raised meanwhile, and one question in five minutes is a burden to nobody."""
_REMEMBERED = 4096


class Pauses:
    """By registry and credentials, as registries count by who asks, each for LONGEST seconds at most.

    Threads share it. `clock` is monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: OrderedDict[tuple[str, Credentials | None], float] = OrderedDict()
        self._guard = threading.Lock()

    def check(self, host: str, credentials: Credentials | None) -> None:
        """Raise RateLimited with the seconds that remain."""
        with self._guard:
            until = self._until.get((host, credentials))
            if until is None:
                return
            left = until - self._clock()
            if left <= 0:
                del self._until[host, credentials]
                return
        told = f"{host} asked for a pause (429) and is asked again in {max(left, 1):.0f} s"
        raise RateLimited(told, retry_after=left)

    def answered(self, host: str, credentials: Credentials | None, status: int, headers: Mapping[str, str]) -> None:
        """A registry answered."""
        if status == 429:
            self.note(host, credentials, retry_after(headers))

    def note(self, host: str, credentials: Credentials | None, seconds: float | None) -> None:
        """It asked for a pause of so many seconds; None when it did not say how many."""
        with self._guard:
            self._until[host, credentials] = self._clock() + (UNTOLD if seconds is None else min(seconds, LONGEST))
            self._until.move_to_end((host, credentials))
            if len(self._until) > _REMEMBERED:
                self._until.popitem(last=False)
