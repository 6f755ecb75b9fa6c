"""What was saved upstream: as the shields say it, and as the ImageCache's status keeps it.

The status is written at most each ten minutes for this: numbers that move all the time would be a write with each sync.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from hooks.facts import Absent, Known, Saved, Unknown
from kube.duration import left_of
from kube.types import Object, format_time, parse_time, part

EVERY = 600.0
"""Seconds for which the status says the same."""
ASK_EVERY = 300.0
"""Seconds between two questions to the shields."""
_MOST = 2**63 - 1
_NUMBERS = ("servedBytes", "servedPulls", "fetchedBytes", "fetchedPulls")


@dataclass(frozen=True, slots=True)
class Count:
    """What one shield counted since `since`: what node proxies served without upstream, and what it fetched."""

    since: datetime
    served_bytes: int
    served_pulls: int
    fetched_bytes: int
    fetched_pulls: int

    @classmethod
    def read(cls, said: Mapping[str, Any]) -> Self:
        """From a shield's `/facts/savings`; raises ValueError that names the field."""
        since = parse_time(said.get("since"))
        if since is None:
            raise ValueError("since: not a time")
        return cls(since, *(_number(said, name) for name in _NUMBERS))


def together(counts: Iterable[Count]) -> Saved | None:
    """What all shields saved since the first of them counts; None where there is none. What was fetched ahead of need
    may be more than what was served: then nothing is saved yet."""
    found = list(counts)
    if not found:
        return None
    size = _bounded(sum(one.served_bytes - one.fetched_bytes for one in found))
    pulls = _bounded(sum(one.served_pulls - one.fetched_pulls for one in found))
    return Saved(size, pulls, min(one.since for one in found))


class Asked:
    """Remembers an answer, so that the shields are asked at most once in ASK_EVERY; `clock` is monotonic, in seconds.
    Threads share it."""

    def __init__(self, ask: Callable[[], Known[Saved] | Absent | Unknown], clock: Callable[[], float]) -> None:
        self._ask = ask
        self._clock = clock
        self._last: tuple[float, Known[Saved] | Absent | Unknown] | None = None

    def __call__(self) -> Known[Saved] | Absent | Unknown:
        """The answer."""
        last, now = self._last, self._clock()
        if last is None or now - last[0] >= ASK_EVERY:
            last = self._last = (now, self._ask())
        return last[1]


def is_due(parent: Object, now: datetime) -> bool:
    """Whether the status may say something new."""
    return not _left(part(part(parent, "status"), "saved"), now)


def saved_status(
    parent: Object, saved: Known[Saved] | Absent | Unknown, now: datetime
) -> tuple[Mapping[str, Any], float]:
    """`status.saved` (empty: none), and the seconds until it may say something new (0: nothing to wait for).

    What is not known changes nothing.
    """
    before = part(part(parent, "status"), "saved")
    left = _left(before, now)
    if left or not isinstance(saved, Known):
        return before, left or (EVERY if isinstance(saved, Unknown) or before else 0.0)
    value = saved.value
    numbers = {"bytes": value.bytes, "pulls": value.pulls, "since": format_time(value.since)}
    if all(before.get(name) == number for name, number in numbers.items()):
        return before, EVERY
    return {**numbers, "at": format_time(now)}, EVERY


def _left(before: Object, now: datetime) -> float:
    at = parse_time(before.get("at"))
    return left_of(EVERY, at, now) if at is not None and at <= now else 0.0


def _bounded(number: int) -> int:
    return min(_MOST, max(0, number))


def _number(said: Mapping[str, Any], name: str) -> int:
    found = said.get(name)
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found <= _MOST:
        raise ValueError(f"{name}: not a number from 0 to {_MOST}")
    return found
