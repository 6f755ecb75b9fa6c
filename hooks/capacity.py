"""What the keepers say of the registry's volumes (the ImageCache's `volume.kuik.dev/V`), and whether there is room.

A volume is full at a percentage of what it holds, or of what the ImageCache gives it. Once it is full it stays so until
it is clearly less, so that a number near the edge says nothing new each time.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from hooks.conditions import FALSE, TRUE, Condition, holds, sentence
from hooks.messages import Unreadable
from hooks.volumes import MAX_VOLUMES, PREFIX
from kube.quantity import format_bytes, parse_quantity
from kube.types import Object, annotations, parse_time, part

STORE_FULL = "StoreFull"
SWEEP_STOPPED = "SweepStopped"
KEEP = "Keep"
EVICT = "Evict"

_SLACK = 2
"""Percent less than full that a full volume must come to before it is not full any more."""
_ROOM = 5
"""Percent less than full to which images leave."""
_NUMBERS = ("bytes", "capacity", "free", "tags", "images", "removed", "freed")
_SWEEPS = ("Idle", "Waiting", "Stopped")
_MAX_REPORT = 16 * 1024
_MAX_NUMBER = 2**63 - 1
_MAX_TOKEN = 128
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Capacity:
    """`spec.capacity`: `most` bytes of each volume, 0 for all that it has; full at `full_at` percent."""

    most: int = 0
    full_at: int = 90
    evicts: bool = False

    @classmethod
    def read(cls, spec: Object) -> Self:
        """From an ImageCache's spec; raises Unreadable for what the schema would refuse."""
        said = part(spec, "capacity")
        full_at, when = said.get("fullAt", 90), said.get("whenFull", KEEP)
        if not isinstance(full_at, int) or isinstance(full_at, bool) or not 0 < full_at <= 100:
            raise Unreadable("parent.spec.capacity.fullAt: write a percentage from 1 to 100")
        if when not in (KEEP, EVICT):
            raise Unreadable(f"parent.spec.capacity.whenFull: {when!r} is not {KEEP} or {EVICT}")
        try:
            most = parse_quantity(str(said["bytes"])) if "bytes" in said else 0
        except ValueError as error:
            raise Unreadable(f"parent.spec.capacity.bytes: {error}") from error
        return cls(most, full_at, when == EVICT)


@dataclass(frozen=True, slots=True)
class Volume:
    """One volume as its keeper tells of it; numbers that it did not tell are None."""

    name: str
    numbers: Mapping[str, int]
    at: str = ""
    collected_at: str = ""
    sweep: Mapping[str, Any] | None = None

    def entry(self) -> Mapping[str, Any]:
        """As the status says it."""
        times = {"at": self.at, "collectedAt": self.collected_at}
        return {
            "name": self.name,
            **self.numbers,
            **{name: value for name, value in times.items() if value},
            **({"sweep": self.sweep} if self.sweep else {}),
        }

    def levels(self, capacity: Capacity) -> Iterator[tuple[int, int]]:
        """How much is taken, and of how much: of what the ImageCache gives the volume, and of what it has itself."""
        taken, whole, free = (self.numbers.get(name) for name in ("bytes", "capacity", "free"))
        if capacity.most and taken is not None:
            yield taken, capacity.most
        if whole and free is not None:
            yield max(0, whole - free), whole


@dataclass(frozen=True, slots=True)
class Room:
    """All volumes that are known, which of them are `full`, and how many bytes are to leave of each of those."""

    volumes: tuple[Volume, ...] = ()
    full: tuple[str, ...] = ()
    excess: int = 0

    @classmethod
    def read(cls, cache: Object, capacity: Capacity, known: Sequence[str]) -> Self:
        """From the ImageCache's annotations; `known` are the cluster's volumes, none means: those that speak."""
        volumes = tuple(volumes_of(cache, known))
        edge = capacity.full_at - (_SLACK if holds(cache, STORE_FULL) else 0)
        full, excess = [], 0
        for one in volumes:
            tight = [(taken, whole) for taken, whole in one.levels(capacity) if taken * 100 >= whole * edge]
            if tight:
                full.append(f"{one.name} has {_of(*max(tight, key=lambda level: level[0] / level[1]))}")
            goal = max(0, capacity.full_at - _ROOM)
            excess = max(excess, *(taken - whole * goal // 100 for taken, whole in tight), 0) if tight else excess
        return cls(volumes, tuple(full), excess)

    @property
    def names(self) -> frozenset[str]:
        return frozenset(one.name for one in self.volumes)

    def collected(self, volume: str) -> str:
        """When garbage was last collected there; empty where nobody told."""
        return next((one.collected_at for one in self.volumes if one.name == volume), "")


def volumes_of(cache: Object, known: Sequence[str]) -> Iterator[Volume]:
    """The volumes that are known, in order of name, with what their keepers say; silent ones by name alone."""
    noted = annotations(cache)
    spoke = {name.removeprefix(PREFIX) for name in noted if name.startswith(PREFIX)}
    for name in sorted(known or (name for name in spoke if 0 < len(name) <= 63))[:MAX_VOLUMES]:
        if known and not spoke:
            continue  # there is no keeper yet
        yield _volume(name, _document(noted.get(f"{PREFIX}{name}")))


def store_full(room: Room, without_room: int, leaving: int, capacity: Capacity) -> Condition | None:
    """Condition StoreFull; None where no keeper speaks and no copy has met a full store.

    `without_room` copies have found no room, `leaving` images are on their way out.
    """
    if not room.full and not without_room:
        return Condition(STORE_FULL, FALSE, "Room", "") if room.volumes else None
    where = ", ".join(room.full[:_NAMED])
    copies = f"{without_room} images found no room" if without_room else ""
    if not capacity.evicts:
        act = (
            "images stay for their retention, as spec.capacity.whenFull is Keep: make the volume larger, "
            "let spec.retention be shorter, or let unused images leave with whenFull: Evict"
        )
    elif leaving:
        act = f"{leaving} images that nobody uses leave"
    else:
        act = "every image is in use, retained or just left its last user: make the volume larger"
    return Condition(STORE_FULL, TRUE, "Full", sentence("; ".join(filter(None, (where, copies, act)))))


def sweep_stopped(room: Room) -> Condition | None:
    """Condition SweepStopped; None where no keeper speaks."""
    stopped = [one for one in room.volumes if one.sweep and one.sweep["state"] == "Stopped"]
    if not stopped:
        return Condition(SWEEP_STOPPED, FALSE, "Sweeping", "") if room.volumes else None
    said = []
    for one in stopped[:_NAMED]:
        sweep = one.sweep or {}
        how = f"kubectl annotate imagecache default --overwrite kuik.dev/confirm-sweep={sweep.get('confirm', '')}"
        what = f"{sweep.get('due', 'most')} of {sweep.get('total', 'all')} tags have no CachedImage any more"
        said.append(f"{one.name} removes nothing, as {what}; if that is right: {how}")
    return Condition(SWEEP_STOPPED, TRUE, "ConfirmationNeeded", sentence("; ".join(said)))


def _of(taken: int, whole: int) -> str:
    return f"{format_bytes(taken)} of {format_bytes(whole)} ({taken * 100 // max(1, whole)}%)"


def _volume(name: str, said: Mapping[str, Any]) -> Volume:
    numbers = {field: count for field in _NUMBERS if (count := _number(said.get(field))) is not None}
    at, collected = (str(said[field]) if parse_time(said.get(field)) else "" for field in ("at", "collectedAt"))
    return Volume(name, numbers, at, collected, _sweep(said.get("sweep")))


def _sweep(said: Any) -> Mapping[str, Any] | None:
    if not isinstance(said, dict) or said.get("state") not in _SWEEPS:
        return None
    counts = {field: count for field in ("due", "total") if (count := _number(said.get(field))) is not None}
    texts = {field: sentence(said[field]) for field in ("confirm", "message") if isinstance(said.get(field), str)}
    if "confirm" in texts and len(texts["confirm"]) > _MAX_TOKEN:
        del texts["confirm"]
    return {"state": said["state"], **counts, **{field: text for field, text in texts.items() if text}}


def _number(value: Any) -> int | None:
    whole = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_NUMBER
    return value if whole else None


def _document(text: Any) -> Mapping[str, Any]:
    if not isinstance(text, str) or len(text) > _MAX_REPORT:
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
