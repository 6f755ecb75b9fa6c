"""The fact whether an image may be pulled by anybody, told from an anonymous HEAD."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from enum import StrEnum

from registry.client import Client
from registry.errors import NotFound, RegistryError, Unauthorized
from registry.reference import Reference
from registry.singleflight import SingleFlight

REMEMBER = {"public": 300.0, "private": 60.0, "absent": 10.0, "unknown": 10.0}
"""Seconds for which each answer is told again without asking."""
_MOST = 10_000


class Access(StrEnum):
    """Who may pull: anybody, who has credentials, or that could not be found out.

    ABSENT is a 404, by which many registries hide what is private.
    """

    PUBLIC = "public"
    PRIVATE = "private"
    ABSENT = "absent"
    UNKNOWN = "unknown"


class AccessFacts:
    """Answers by image; threads share it. `client` has no credentials; `clock` is monotonic, in seconds."""

    def __init__(self, client: Client, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._asking: SingleFlight[Reference, Access] = SingleFlight()
        self._known: OrderedDict[Reference, tuple[Access, float]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, reference: Reference) -> Access:
        """What is known, or found out now, at the price of one HEAD for all who ask."""
        access, until = self.peek(reference)
        if self._clock() < until:
            return access
        return self._asking.do(reference, lambda: self._ask(reference))

    def peek(self, reference: Reference) -> tuple[Access, float]:
        """What was last found out, and the moment of the clock from which it is to be asked again."""
        with self._lock:
            return self._known.get(reference, (Access.UNKNOWN, float("-inf")))

    def _ask(self, reference: Reference) -> Access:
        try:
            self._client.head(reference)
        except Unauthorized:
            access = Access.PRIVATE
        except NotFound:
            access = Access.ABSENT
        except RegistryError:
            access = Access.UNKNOWN
        else:
            access = Access.PUBLIC
        with self._lock:
            self._known[reference] = (access, self._clock() + REMEMBER[access])
            self._known.move_to_end(reference)
            if len(self._known) > _MOST:
                self._known.popitem(last=False)
        return access
