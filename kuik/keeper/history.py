"""What was seen at the sweeps before: which tags stand for nothing, and for how long that was looked at. Pure.

A clock that jumps must not delete: so what counts is the time between sweeps that followed one another, measured by
a clock that does not jump. Where another process made the last one, it is by the date, and at most as long as sweeps
are apart. A tag that stood for something once in between begins anew.
"""

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from kube.types import format_time, parse_time
from kuik.keeper.kept import Place

VERSION = 1
_LONGEST = 64 * 1024 * 1024
_SLACK = 2.0
"""A sweep may be late: up to so many times their distance counts as looked at."""


@dataclass(frozen=True, slots=True)
class Unwanted:
    """A tag that stands for nothing: at how many sweeps in a row, and for how many seconds."""

    sweeps: int
    seconds: float


@dataclass(frozen=True, slots=True)
class History:
    """The unwanted tags, as of the last sweep `at`; `confirmed` is how many stopped sweeps a person let go on."""

    at: datetime | None = None
    unwanted: Mapping[Place, Unwanted] = field(default_factory=dict)
    confirmed: int = 0

    def after(self, found: Collection[Place], now: datetime, every: float, measured: float | None = None) -> Self:
        """With a sweep that has found these unwanted; sweeps are `every` seconds apart.

        `measured` is how many seconds ago this process made the last one, by a monotonic clock; None where it did not.
        """
        if measured is None:
            dated = (now - self.at).total_seconds() if self.at else 0.0
            passed = min(max(dated, 0.0), every)
        else:
            passed = min(max(measured, 0.0), every * _SLACK)
        seen = {
            place: Unwanted(before.sweeps + 1, before.seconds + passed) if before else Unwanted(1, 0.0)
            for place in found
            for before in (self.unwanted.get(place),)
        }
        return type(self)(now, seen, self.confirmed)

    def due(self, grace: float) -> frozenset[Place]:
        """Those that were unwanted for `grace` seconds, and at three sweeps at least."""
        return frozenset(
            place for place, one in self.unwanted.items() if one.seconds >= grace and one.sweeps >= MOST_HASTE
        )

    def without(self, removed: Collection[Place], *, confirmed: bool = False) -> Self:
        """When these were removed; `confirmed` says that a person had to let that go on."""
        gone = frozenset(removed)
        left = {place: one for place, one in self.unwanted.items() if place not in gone}
        return type(self)(self.at, left, self.confirmed + confirmed)

    def text(self) -> str:
        """As it is kept on the volume."""
        seen = {str(place): [one.sweeps, round(one.seconds, 1)] for place, one in sorted(self.unwanted.items())}
        at = format_time(self.at) if self.at else None
        return json.dumps({"version": VERSION, "at": at, "confirmed": self.confirmed, "unwanted": seen}, indent=1)

    @classmethod
    def read(cls, text: str) -> Self:
        """What was kept; anything that is not such a text counts as nothing seen yet, so that nothing is removed."""
        try:
            found: Any = json.loads(text) if len(text) <= _LONGEST else None
            if not isinstance(found, dict) or found.get("version") != VERSION:
                return cls()
            seen = {
                Place.parse(name): Unwanted(int(sweeps), float(seconds))
                for name, (sweeps, seconds) in found["unwanted"].items()
            }
            confirmed = int(found.get("confirmed", 0))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
            return cls()
        if not all(math.isfinite(one.seconds) for one in seen.values()):
            return cls()
        return cls(parse_time(found.get("at")), seen, confirmed)


MOST_HASTE = 3
"""Sweeps at which a tag has to be unwanted before it goes, however short the grace is."""
