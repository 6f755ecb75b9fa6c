"""The report: numbers, workloads at risk, and what was left alone by somebody's wish."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.filesize import decimal

from hooks.conditions import holds
from hooks.risk import Risk, left_alone, risks, workloads_at_risk
from kube.types import Object, part, texts

NOT_SEEN = "NotSeenYet"
"""The reason of an image that an inventory names and that has no CachedImage yet."""


@dataclass(frozen=True, slots=True)
class Report:
    """What `kuik report` tells. `saved` is as the ImageCache's status says it, None where nobody counted."""

    images: int
    cached: int
    failed: int
    bytes: int
    workloads: int
    workloads_at_risk: int
    risks: tuple[Risk, ...]
    left_alone: tuple[Risk, ...] = ()
    saved: Mapping[str, Any] | None = None

    def document(self) -> dict[str, Any]:
        """The report as JSON and YAML show it."""
        return {
            "images": self.images,
            "cached": self.cached,
            "failed": self.failed,
            "bytes": self.bytes,
            "workloads": self.workloads,
            "workloadsAtRisk": self.workloads_at_risk,
            "risks": [{**_entry(one), "served": one.served} for one in self.risks],
            "leftAlone": [_entry(one) for one in self.left_alone],
            "saved": dict(self.saved) if self.saved is not None else None,
        }


def report(
    images: Sequence[Object],
    uses: Mapping[str, Iterable[str]],
    inventories: Iterable[Object] = (),
    saved: Mapping[str, Any] | None = None,
) -> Report:
    """From the CachedImages, who uses which image (workloads by image), and the inventories."""
    cached = [one for one in images if holds(one, "Cached")]
    sizes = (part(one, "status").get("size") for one in cached)
    unseen = _unseen(images, uses)
    found = sorted((*risks(images), *unseen), key=lambda one: one.rank)
    return Report(
        images=len(images),
        cached=len(cached),
        failed=sum(1 for one in images if part(one, "status").get("phase") == "Failed"),
        bytes=sum(size for size in sizes if isinstance(size, int)),
        workloads=len({workload for workloads in uses.values() for workload in workloads}),
        workloads_at_risk=workloads_at_risk(images)
        + len({one.workload for one in unseen} - {one.workload for one in risks(images)}),
        risks=tuple(found),
        left_alone=tuple(sorted(left_alone(inventories), key=lambda one: one.rank)),
        saved=saved,
    )


def saved_words(saved: Mapping[str, Any] | None) -> str:
    """`status.saved` of an ImageCache as a sentence for people; None where nobody counted."""
    if not saved:
        return "what upstream was spared is not known: nothing was counted yet where images are served"
    size, pulls = (saved.get(name) for name in ("bytes", "pulls"))
    spared = f"{decimal(size) if isinstance(size, int) else 'unknown bytes'} and {pulls} pulls"
    return f"upstream was spared {spared} since {saved.get('since')}"


def uses_of(images: Iterable[Object]) -> dict[str, list[str]]:
    """Who uses what, as the CachedImages themselves say."""
    return {str(part(one, "spec").get("image")): texts(part(one, "spec"), "usedBy") for one in images}


def _unseen(images: Iterable[Object], uses: Mapping[str, Iterable[str]]) -> list[Risk]:
    known = {part(one, "spec").get("image") for one in images}
    message = "kuik has not taken the image up yet"
    return [
        Risk(workload, image, NOT_SEEN, message)
        for image, workloads in uses.items()
        if image not in known
        for workload in workloads
        if workload.count("/") > 1  # a policy runs nothing
    ]


def _entry(one: Risk) -> dict[str, str]:
    return {"workload": one.workload, "image": one.image, "reason": one.reason, "message": one.message}
