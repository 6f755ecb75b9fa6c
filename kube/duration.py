"""Durations as the CRDs have them: a number and one of s, m, h, d, w."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DURATION = re.compile(r"(\d{1,6})([smhdw])")


@lru_cache(maxsize=1024)  # thousands of images share a few
def parse_duration(text: str) -> timedelta:
    """Read `30d`, `12h`, `90m`, `45s` or `2w`; raises ValueError."""
    match = _DURATION.fullmatch(text.strip())
    if not match:
        raise ValueError(f"duration {text!r}: write a number and one of s, m, h, d, w, for example 30d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def later(moment: datetime, span: timedelta) -> datetime:
    """The moment so much later; the last one that a calendar has where there is none."""
    try:
        return moment + span
    except OverflowError:
        return datetime.max.replace(microsecond=0, tzinfo=UTC)


ANOTHER_CLOCK = timedelta(days=1)
"""What is further ahead than this was told by a clock that has been set back since; it tells nothing any more."""


def left_of(seconds: float, since: datetime, now: datetime) -> float:
    """How many of so many seconds after `since` are left: 0 at least, and never more than all, whatever clocks say."""
    return min(seconds, max(0.0, seconds - (now - since).total_seconds()))
