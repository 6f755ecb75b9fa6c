"""The ImageCache's status: numbers, and conditions that say bad news at once and good news after a while."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hooks.capacity import STORE_FULL, Room, store_full, sweep_stopped
from hooks.conditions import FALSE, TRUE, Condition, condition, holds, stated
from hooks.facts import Absent, Group, Known, Unknown
from hooks.fitness import unfit
from hooks.risk import MOST_LISTED, is_gone_upstream, risks, workloads_at_risk
from hooks.space import Space
from hooks.usage import Usage
from hooks.webhook import AUDIT, OFF
from kube.duration import left_of
from kube.types import Object, format_time, metadata, parse_time, part

HELD = 60.0
"""Seconds for which all must be well before a condition that said otherwise says so."""

_GOOD = {"Ready": TRUE, "Rewriting": TRUE, "Degraded": FALSE, STORE_FULL: FALSE}
_NAMED_GAPS = 5


@dataclass(frozen=True, slots=True)
class Seen:
    """What the summary is made of. `images` are the observed CachedImages that stay; `why_not` why no pod is rewritten
    although the mode wants it, None where there is no such reason."""

    usage: Usage
    namespaces: Group
    images: Sequence[Object]
    in_use: Known[frozenset[str]] | Absent | Unknown
    mode: str
    why_not: Condition | None
    room: Room
    space: Space
    now: datetime


def summary(parent: Object, seen: Seen) -> tuple[Mapping[str, Any], float]:
    """The status to write, and the seconds until it may change by itself (0: never)."""
    cached = [image for image in seen.images if holds(image, "Cached")]
    failed = sum(1 for image in seen.images if part(image, "status").get("phase") == "Failed")
    at_risk = sum(map(_is_used, seen.images)) - sum(map(_is_used, cached))
    sizes = (part(image, "status").get("size") for image in cached)
    gaps, young = _gaps(seen)
    space = seen.space
    full = store_full(seen.room, space.without_room, space.leaving, space.capacity)
    always = (_ready(seen, gaps, at_risk), _rewriting(seen), _degraded(seen, failed))
    found = [one for one in (*always, full, sweep_stopped(seen.room)) if one]
    shown, since, held = _held(parent, found, seen.now)
    listed = risks(seen.images)
    status = {
        "images": len(seen.images),
        "cached": len(cached),
        "failed": failed,
        "atRisk": at_risk,
        "unsupported": len(seen.usage.ignored),
        "goneUpstream": sum(1 for image in seen.images if _is_used(image) and is_gone_upstream(image)),
        "workloadsAtRisk": workloads_at_risk(seen.images),
        **({"riskiest": [one.entry() for one in listed[:MOST_LISTED]]} if listed else {}),
        **({"volumes": [one.entry() for one in seen.room.volumes]} if seen.room.volumes else {}),
        "bytes": sum(size for size in sizes if isinstance(size, int)),
        **({"recoveringSince": since} if since else {}),
        "conditions": [stated(parent, one, seen.now) for one in shown],
    }
    return status, min((wait for wait in (held, young) if wait), default=0.0)


def proxies_unfit(daemon_sets: Iterable[Object], lost: int) -> Condition | None:
    """Why pods cannot be pointed to the proxies, where they cannot; `lost` nodes with a proxy cannot be reached."""
    found = list(daemon_sets)
    why = unfit(found, lost)
    return Condition("Rewriting", FALSE, "ProxiesUnfit" if found else "NoProxies", why.message) if why else None


def _is_used(image: Object) -> bool:
    spec = part(image, "spec")
    return bool(spec.get("users")) or not spec.get("unusedSince")


def _held(
    parent: Object, found: Iterable[Condition], now: datetime
) -> tuple[list[Condition], Mapping[str, str], float]:
    """The conditions to show; since when those that said otherwise are well; the seconds until one of them says so.

    Each has a time of its own: one that flaps keeps no other from telling its good news.
    """
    before = part(part(parent, "status"), "recoveringSince")
    shown: list[Condition] = []
    since: dict[str, str] = {}
    waits: list[float] = []
    for one in found:
        began = min(parse_time(before.get(one.type)) or now, now)
        left = left_of(HELD, began, now)
        if not _recovers(parent, one) or not left:
            shown.append(one)
            continue
        shown.append(_as_before(parent, one))
        since[one.type] = format_time(began)
        waits.append(left)
    return shown, since, min(waits, default=0.0)


def _recovers(parent: Object, found: Condition) -> bool:
    before = condition(parent, found.type)
    return found.status == _GOOD.get(found.type) and before is not None and before.get("status") != found.status


def _as_before(parent: Object, found: Condition) -> Condition:
    before = condition(parent, found.type) or {}
    return Condition(found.type, *(str(before.get(field, "")) for field in ("status", "reason", "message")))


def _gaps(seen: Seen) -> tuple[Mapping[str, str], float]:
    """The gaps to tell of, and the seconds until one more is: that a new namespace has no inventory yet is no news."""
    ages = {
        metadata(ns)["name"]: (seen.now - born).total_seconds()
        for ns in seen.namespaces.values()
        if (born := parse_time(metadata(ns).get("creationTimestamp"))) is not None
    }
    young = {name: HELD - ages[name] for name in seen.usage.gaps if name in ages and ages[name] < HELD}
    told = {name: why for name, why in seen.usage.gaps.items() if name not in young}
    return told, min(young.values(), default=0.0)


def _ready(seen: Seen, gaps: Mapping[str, str], at_risk: int) -> Condition:
    if gaps:
        said = [f"{name} {gaps[name]}" for name in sorted(gaps)[:_NAMED_GAPS]]
        more = f" and {len(gaps) - _NAMED_GAPS} more" if len(gaps) > _NAMED_GAPS else ""
        return Condition("Ready", FALSE, "InventoryMissing", f"nothing expires: {', '.join(said)}{more}")
    if isinstance(seen.in_use, Unknown):
        return Condition("Ready", FALSE, "PodsUnknown", f"nothing expires: {seen.in_use.why or 'pods unknown'}")
    if at_risk:
        return Condition("Ready", TRUE, "Copying", "some images in use are not cached yet")
    return Condition("Ready", TRUE, "AllCached", "every image in use is cached")


def _rewriting(seen: Seen) -> Condition:
    if seen.mode == OFF:
        return Condition("Rewriting", FALSE, "Off", "spec.mode is Off: pods keep their images")
    if seen.why_not is not None:
        return seen.why_not
    if seen.mode == AUDIT:
        return Condition("Rewriting", FALSE, "Audit", "new pods are annotated with what would become of them")
    return Condition("Rewriting", TRUE, seen.mode, "new pods are pointed to the node proxies")


def _degraded(seen: Seen, failed: int) -> Condition:
    if seen.usage.unreadable:
        named = "; ".join(seen.usage.unreadable[:_NAMED_GAPS])
        return Condition("Degraded", TRUE, "InvalidReference", f"no image can have the name: {named}")
    if failed:
        return Condition("Degraded", TRUE, "CopiesFailed", f"{failed} of {len(seen.images)} images cannot be cached")
    return Condition("Degraded", FALSE, "AllWell", "")
