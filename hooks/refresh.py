"""Whether a tag moved upstream, when that is looked at again, and the earlier digests that are kept."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from hooks.attempts import Attempt, Copied
from hooks.conditions import FALSE, TRUE, UNKNOWN, Condition, condition
from hooks.facts import Absent, ImageFacts, Known, Unknown
from hooks.messages import Unreadable
from kube.duration import ANOTHER_CLOCK, later, left_of, parse_duration
from kube.types import Object, entries, format_time, parse_time, part
from registry.reference import Reference

UP_TO_DATE = "UpToDate"
IGNORE = "Ignore"
WARN = "Warn"
SYNC = "Sync"

MAX_PREVIOUS = 20
_GONE = "Gone"
_USUAL_INTERVAL = "1h"
_SHORTEST = 60.0  # seconds: as long as the shield tells a tag without asking
_SOON = 45.0  # seconds, twice that at most: the shield learns what it was asked, and tells it for two minutes
_NOTHING_NEW = (300.0, 1800.0)  # seconds, least and most, after a copy that did not find what upstream was said to have


@dataclass(frozen=True, slots=True)
class Refresh:
    """What is wanted of one image: `mode` is IGNORE, WARN or SYNC; `pinned` says that it is named by digest."""

    mode: str
    interval: timedelta
    pinned: bool = False

    @classmethod
    def read(cls, spec: Object, reference: Reference) -> Self:
        """From a CachedImage's spec; raises Unreadable for what the schema would refuse."""
        refresh = part(spec, "refresh")
        mode = refresh.get("mode", SYNC)
        if mode not in (IGNORE, WARN, SYNC):
            raise Unreadable(f"parent.spec.refresh.mode: {mode!r} is not Ignore, Warn or Sync")
        try:
            interval = parse_duration(str(refresh.get("interval", _USUAL_INTERVAL)))
        except ValueError as error:
            raise Unreadable(f"parent.spec.refresh.interval: {error}") from error
        return cls(mode, interval, reference.digest is not None)

    @property
    def follows(self) -> bool:
        """Whether upstream's digest is looked at."""
        return not self.pinned and self.mode != IGNORE

    def until_asked(self, image: str, facts: ImageFacts, *, proven: bool, now: datetime) -> float:
        """Seconds until the shield is asked again, 0 for never; `proven` says that the image's access is known.

        Each image has moments of its own in every interval, so that many images do not ask at once.
        """
        share = int.from_bytes(hashlib.sha256(image.encode()).digest()[:8]) / 2**64
        unknown = isinstance(facts.access, Unknown) and not proven
        if unknown or (self.follows and isinstance(facts.upstream, Unknown)):
            return math.ceil(_SOON * (1 + share))
        if not self.follows or isinstance(facts.upstream, Absent):
            return 0.0
        period = max(_SHORTEST, self.interval.total_seconds())
        return math.ceil(max(_SHORTEST, period - (now.timestamp() + share * period) % period))

    def wait(self, last: Attempt | None, now: datetime) -> float:
        """Seconds until a copy may look again for what the last one did not find; it was told of too late, or early."""
        if last is None or last.finished is None or not isinstance(last.outcome, Copied):
            return 0.0
        if last.finished > later(now, ANOTHER_CLOCK):
            return 0.0
        least, most = _NOTHING_NEW
        backoff = min(most, max(least, self.interval.total_seconds()))
        return left_of(backoff, last.finished, now)


@dataclass(frozen=True, slots=True)
class Upstream:
    """The last that was known of an image's tag upstream: its digest, or that it is gone, or nothing."""

    digest: str = ""
    gone: bool = False

    @classmethod
    def read(cls, image: Object) -> Self:
        """From the observed status."""
        found = condition(image, UP_TO_DATE)
        digest = part(image, "status").get("upstreamDigest")
        return cls(digest if isinstance(digest, str) else "", found is not None and found.get("reason") == _GONE)

    def after(self, digest: str, refresh: Refresh, fact: Known[str | None] | Absent | Unknown) -> "Upstream":
        """With what is known now. `digest` is what a copy has just found there, else empty."""
        if not refresh.follows:
            return Upstream()
        if isinstance(fact, Known):
            return Upstream(fact.value) if fact.value else Upstream(gone=True)
        return Upstream(digest) if digest and (self.digest or self.gone) else self

    def moved_from(self, digest: str) -> bool:
        """Whether upstream has another digest for the tag."""
        return bool(self.digest) and self.digest != digest

    def condition(self, image: Object, digest: str, refresh: Refresh, facts: ImageFacts) -> Condition | None:
        """Whether `digest`, which is cached, is what upstream has; None where nobody was ever asked."""
        if not digest:
            return None
        if not refresh.follows:
            return _not_followed(refresh)
        if self.gone:
            return Condition(UP_TO_DATE, FALSE, _GONE, "upstream has no such tag any more; what is cached stays")
        if self.moved_from(digest):
            why = "; it is not copied, as spec.refresh.mode is Warn" if refresh.mode == WARN else ""
            return Condition(UP_TO_DATE, FALSE, "Moved", f"upstream has {self.digest} for the tag{why}")
        if self.digest:
            return Condition(UP_TO_DATE, TRUE, "Current")
        asked = not isinstance(facts.upstream, Absent) or condition(image, UP_TO_DATE) is not None
        return Condition(UP_TO_DATE, UNKNOWN, "NotChecked", "upstream did not tell the tag's digest") if asked else None


def _not_followed(refresh: Refresh) -> Condition:
    if refresh.pinned:
        return Condition(UP_TO_DATE, TRUE, "Pinned", "an image that is named by its digest never moves")
    return Condition(UP_TO_DATE, UNKNOWN, "NotChecked", "spec.refresh.mode is Ignore: nobody looks upstream")


@dataclass(frozen=True, slots=True)
class Earlier:
    """A digest that the tag had before, kept until then."""

    digest: str
    until: datetime


def earlier(image: Object) -> tuple[Earlier, ...]:
    """The earlier digests in the observed status, the latest first."""
    found = ((entry.get("digest"), parse_time(entry.get("until"))) for entry in entries(part(image, "status"), _FIELD))
    return tuple(Earlier(digest, until) for digest, until in found if isinstance(digest, str) and until)


_FIELD = "previousDigests"


def kept(found: Sequence[Earlier], current: str, now: datetime) -> tuple[Earlier, ...]:
    """Those that stay: not yet due, not current again, each once, the first MAX_PREVIOUS."""
    each: dict[str, Earlier] = {}
    for one in found:
        if one.until > now and one.digest != current:
            each.setdefault(one.digest, one)
    return tuple(each.values())[:MAX_PREVIOUS]


def listed(found: Sequence[Earlier]) -> Mapping[str, Any]:
    """As the status says it; nothing where there are none."""
    entries = [{"digest": one.digest, "until": format_time(one.until)} for one in found]
    return {_FIELD: entries} if entries else {}
