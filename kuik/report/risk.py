"""Which workloads use an image that is not safe in the cache, or that only the cache still has, and why."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from hooks.conditions import FALSE, condition, holds
from hooks.refresh import GONE, UP_TO_DATE
from hooks.volumes import DAMAGED, noted, told
from kube.types import Object, part, texts

GONE_UPSTREAM = "GoneUpstream"
NOT_SEEN = "NotSeenYet"
_LAST = (DAMAGED, GONE_UPSTREAM)
"""What is still served, and so least grave."""


@dataclass(frozen=True, slots=True)
class Risk:
    """One workload, as `namespace/Kind/name`, and an image of it that is at risk."""

    workload: str
    image: str
    reason: str
    message: str

    @property
    def served(self) -> bool:
        """Whether the cache serves the image all the same."""
        return self.reason in _LAST

    @property
    def rank(self) -> tuple[bool, str, str, str]:
        """The lowest first: the gravest."""
        return self.served, self.reason, self.workload, self.image


def risks(uses: Mapping[str, Iterable[str]], images: Iterable[Object]) -> list[Risk]:
    """Of these uses (workloads by image), the gravest first. `images` are the CachedImages."""
    known = {str(part(one, "spec").get("image")): one for one in images}
    found = (
        Risk(workload, image, *why)
        for image, workloads in uses.items()
        if (why := why_at_risk(known.get(image))) is not None
        for workload in workloads
    )
    return sorted(found, key=lambda one: one.rank)


def uses_of(images: Iterable[Object]) -> dict[str, list[str]]:
    """Who uses what, as the CachedImages themselves say."""
    return {str(part(one, "spec").get("image")): texts(part(one, "spec"), "usedBy") for one in images}


def why_at_risk(image: Object | None) -> tuple[str, str] | None:
    """The reason, as a word and as a sentence; None for an image that is safe. None is an image without CachedImage."""
    if image is None:
        return NOT_SEEN, "kuik has not taken the image up yet"
    return next(_whys(image), None)


def _whys(image: Object) -> Iterator[tuple[str, str]]:
    status = part(image, "status")
    cached = condition(image, "Cached") or {}
    if not holds(image, "Cached"):
        reason = status.get("reason") or cached.get("reason") or "Pending"
        yield str(reason), str(status.get("message") or cached.get("message") or "it is not copied yet")
    bad = [one for one in noted(image) if not one.serves]
    if bad:
        yield DAMAGED, told(bad)
    moved = condition(image, UP_TO_DATE) or {}
    if moved.get("status") == FALSE and moved.get("reason") == GONE:
        yield GONE_UPSTREAM, str(moved.get("message", ""))
