"""How often the keeper does what, as the ImageCache says it."""

from dataclasses import dataclass
from typing import Self

from kube.duration import parse_duration
from kube.quantity import parse_quantity
from kube.types import Object, part

_FIELDS = {"grace": "7d", "sweepEvery": "1h", "verifyEvery": "7d"}


@dataclass(frozen=True, slots=True)
class Terms:
    """The first three in seconds; `capacity` is how many bytes the volume may hold, None for all it has."""

    grace: float
    sweep_every: float
    verify_every: float
    capacity: int | None = None

    @classmethod
    def read(cls, cache: Object | None) -> Self:
        """From an ImageCache; what it does not say, or says wrongly, is as the schema's defaults have it."""
        said = part(part(cache or {}, "spec"), "keeper")
        grace, sweep, verify = (_seconds(said.get(name), default) for name, default in _FIELDS.items())
        return cls(grace, sweep, verify, _bytes(part(part(cache or {}, "spec"), "capacity").get("bytes")))


def _seconds(said: object, default: str) -> float:
    try:
        return parse_duration(str(said)).total_seconds() if said else parse_duration(default).total_seconds()
    except ValueError:
        return parse_duration(default).total_seconds()


def _bytes(said: object) -> int | None:
    try:
        return parse_quantity(str(said)) if said else None
    except ValueError:
        return None
