"""How often, and after what pause, what is temporary is tried again."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from registry.errors import RegistryError
from registry.failures import retry_after
from registry.response import Response, TimedOut

TEMPORARY = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Retries:
    """`attempts` in all, and `breaks` of a blob that are mended; pauses in seconds double from `first` to `longest`.

    A `Retry-After` of at most `longest` is honoured; with a longer one the answer is given back at once, so that
    whoever asked can plan. What timed out is not tried again: its time has been spent.
    """

    attempts: int = 3
    breaks: int = 5
    first: float = 0.2
    longest: float = 5.0
    sleep: Callable[[float], None] = time.sleep

    def run(self, attempt: Callable[[], Response]) -> Response:
        """`attempt()`, again while its answer or its error is temporary; then what came last, as it came."""
        for number in range(1, self.attempts):
            try:
                response = attempt()
            except RegistryError as error:
                if not self._worth(error):
                    raise
                wait = error.retry_after
            else:
                wait = retry_after(response.headers)
                if response.status not in TEMPORARY or (wait or 0.0) > self.longest:
                    return response
                response.discard()
            self.sleep(max(wait or 0.0, self.pause(number)))
        return attempt()

    def pause(self, attempt: int) -> float:
        """Seconds to wait after the `attempt`th failure, the first being 1."""
        return float(min(self.first * 2 ** min(attempt - 1, 20), self.longest))

    def _worth(self, error: RegistryError) -> bool:
        if isinstance(error, TimedOut):
            return False
        return error.temporary and (error.retry_after or 0.0) <= self.longest


NO_RETRIES = Retries(attempts=1)
