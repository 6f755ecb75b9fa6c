"""How often, and after what pause, what is temporary is tried again."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from tenacity import RetryCallState, Retrying, stop_after_attempt

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
        retrying = Retrying(
            stop=stop_after_attempt(self.attempts),
            wait=self._wait,
            retry=self._again,
            sleep=self.sleep,
            before_sleep=_drop,
            retry_error_callback=_last,
        )
        return retrying(attempt)

    def pause(self, attempt: int) -> float:
        """Seconds to wait after the `attempt`th failure, the first being 1."""
        return float(min(self.first * 2 ** min(attempt - 1, 20), self.longest))

    def _again(self, state: RetryCallState) -> bool:
        error = _error(state)
        if error is None:
            response = _response(state)
            return response.status in TEMPORARY and (retry_after(response.headers) or 0.0) <= self.longest
        if not isinstance(error, RegistryError) or isinstance(error, TimedOut):
            return False
        return error.temporary and (error.retry_after or 0.0) <= self.longest

    def _wait(self, state: RetryCallState) -> float:
        error = _error(state)
        if error is None:
            asked = retry_after(_response(state).headers)
        else:
            asked = error.retry_after if isinstance(error, RegistryError) else None
        return max(asked or 0.0, self.pause(state.attempt_number))


NO_RETRIES = Retries(attempts=1)


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def _response(state: RetryCallState) -> Response:
    assert state.outcome is not None  # noqa: S101  tenacity asks only after an attempt
    response: Response = state.outcome.result()
    return response


def _drop(state: RetryCallState) -> None:
    if _error(state) is None:
        _response(state).discard()


def _last(state: RetryCallState) -> Response:
    return _response(state)
