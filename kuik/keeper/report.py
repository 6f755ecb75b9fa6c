"""What the keeper says of its volume: the annotation on the ImageCache, and of one image on its CachedImage. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from hooks.volumes import PREFIX
from kube.types import format_time, parse_time

IDLE, WAITING, STOPPED = "Idle", "Waiting", "Stopped"
NUMBERS_EVERY = timedelta(minutes=10)
"""How often numbers alone are worth a write."""
_MAX_NAME = 63
_LONGEST = 900
_LONGEST_REPORT = 16 * 1024


@dataclass(frozen=True, slots=True)
class SweepState:
    """How the sweep stands: Idle, Waiting (for the grace), or Stopped until somebody writes `confirm`."""

    state: str = IDLE
    due: int = 0
    total: int = 0
    confirm: str = ""
    message: str = ""

    def document(self) -> Mapping[str, Any]:
        said = {"state": self.state, "due": self.due, "total": self.total}
        words = {"confirm": self.confirm, "message": self.message[:_LONGEST]}
        return {**said, **{name: value for name, value in words.items() if value}}


@dataclass(frozen=True, slots=True)
class VolumeReport:
    """A volume's numbers in bytes, tags and images; None is not known. `removed` and `freed` are of the last time.
    `problem` is why garbage could not be collected."""

    bytes: int | None = None
    capacity: int | None = None
    free: int | None = None
    tags: int | None = None
    images: int | None = None
    removed: int | None = None
    freed: int | None = None
    collected_at: datetime | None = None
    sweep: SweepState = SweepState()
    problem: str = ""

    def text(self, at: datetime) -> str:
        """The annotation's value."""
        numbers = {
            "bytes": self.bytes,
            "capacity": self.capacity,
            "free": self.free,
            "tags": self.tags,
            "images": self.images,
            "removed": self.removed,
            "freed": self.freed,
        }
        said = {name: value for name, value in numbers.items() if value is not None}
        if self.collected_at:
            said["collectedAt"] = format_time(self.collected_at)  # type: ignore[assignment]
        if self.problem:
            said["problem"] = self.problem[:_LONGEST]  # type: ignore[assignment]
        return json.dumps({"at": format_time(at), **said, "sweep": self.sweep.document()}, sort_keys=True)

    @classmethod
    def told(cls, text: object) -> "VolumeReport":
        """What the last report said of things that happen seldom, so that a new process goes on telling it."""
        try:
            found = json.loads(text) if isinstance(text, str) and len(text) <= _LONGEST_REPORT else None
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            return cls()
        removed, freed = (
            found.get(name) if isinstance(found.get(name), int) else None for name in ("removed", "freed")
        )
        return cls(removed=removed, freed=freed, collected_at=parse_time(found.get("collectedAt")))

    @property
    def news(self) -> "VolumeReport":
        """Without the numbers that change all the time."""
        return replace(self, bytes=None, free=None, tags=None, images=None)


def worth_saying(before: VolumeReport | None, said_at: datetime | None, now: VolumeReport, at: datetime) -> bool:
    """Whether a report has news, or numbers that were not said for a while."""
    if before is None or said_at is None or before.news != now.news:
        return True
    return before != now and at - said_at >= NUMBERS_EVERY


def key_of(volume: str) -> str:
    """The annotation's name; raises ValueError for what is no volume's name."""
    if not 0 < len(volume) <= _MAX_NAME:
        raise ValueError(f"volume {volume!r}: a name of 1 to {_MAX_NAME} characters is needed")
    return f"{PREFIX}{volume}"


def image_report(
    digest: str, state: str, at: datetime, *, message: str = "", verified: str = "", beside: bool = False
) -> str:
    """The annotation of one volume on a CachedImage; `beside` says that something that was attached to it is to be
    copied again."""
    said = {"at": format_time(at), "digest": digest, "state": state, "message": message[:512], "verified": verified}
    said |= {"beside": "Lost"} if beside else {}
    return json.dumps({name: value for name, value in said.items() if value}, sort_keys=True)
