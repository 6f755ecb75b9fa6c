"""How long a copy waits for others: for writers that are away, as while garbage is collected, and for a shield that
restarts."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from registry.errors import RegistryError, ServerFailure, Unreachable

T = TypeVar("T")

PATIENCE = 300.0
"""Seconds that writers are waited for where no volume has the image."""
SHORT_PATIENCE = 20.0
"""Seconds where one has: that volume's keeper fills the others."""
SOURCE_PATIENCE = 120.0
"""Seconds that a shield is waited for since it was last heard of: less than a new attempt of the Job would cost, as
this one knows what it has, and its uploads go on."""
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 15.0


@dataclass(frozen=True)
class Waits:
    """How long others are waited for, in seconds; `pause` sleeps, and is true once the copy is told to stop.

    `none` and `some` are for writers, where no volume or another one has the image; `source` is for the source, which
    is not waited for at all unless told: only the shield is known to come back.
    """

    none: float = PATIENCE
    some: float = SHORT_PATIENCE
    source: float = 0.0
    pause: Callable[[float], bool] = field(default=threading.Event().wait)
    clock: Callable[[], float] = time.monotonic


class Life:
    """When somebody was last heard of; threads share it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.at = clock()

    def heard(self) -> None:
        """There was a sign just now."""
        self.at = self._clock()


def is_away(error: RegistryError) -> bool:
    """Whether nobody answered. A shield that says that a registry does not answer has been asked, and has tried."""
    return isinstance(error, Unreachable) and not isinstance(error, ServerFailure)


def while_away(work: Callable[[], T], waits: Waits, life: Life) -> T:
    """What `work` gives, which is begun again while its source is away; raises its error once that is for too long."""
    pause = FIRST_PAUSE
    while True:
        since = life.at
        try:
            return work()
        except RegistryError as error:
            if not is_away(error):
                raise
            pause = FIRST_PAUSE if life.at > since else pause
            left = waits.source - (waits.clock() - life.at)
            if left <= 0 or waits.pause(min(pause, left)):
                raise
            pause = min(2 * pause, LONGEST_PAUSE)
