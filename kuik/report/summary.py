"""The report: numbers, workloads at risk, and what was left alone by somebody's wish."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hooks.conditions import holds
from kube.types import Object, part
from kuik.report.risk import Risk, risks


@dataclass(frozen=True, slots=True)
class Report:
    """What `kuik report` tells. `saved` is as the ImageCache's status says it, None where nobody counted."""

    images: int
    cached: int
    failed: int
    bytes: int
    workloads: int
    risks: tuple[Risk, ...]
    left_alone: tuple[str, ...] = ()
    saved: Mapping[str, Any] | None = None

    @property
    def at_risk(self) -> int:
        """How many workloads the cache cannot serve in whole, or serves what nobody else has."""
        return len({one.workload for one in self.risks})

    def document(self) -> dict[str, Any]:
        """The report as JSON and YAML show it."""
        return {
            "images": self.images,
            "cached": self.cached,
            "failed": self.failed,
            "bytes": self.bytes,
            "workloads": self.workloads,
            "workloadsAtRisk": self.at_risk,
            "risks": [
                {
                    "workload": one.workload,
                    "image": one.image,
                    "reason": one.reason,
                    "message": one.message,
                    "served": one.served,
                }
                for one in self.risks
            ],
            "leftAlone": list(self.left_alone),
            "saved": dict(self.saved) if self.saved is not None else None,
        }


def report(
    images: Sequence[Object],
    uses: Mapping[str, Iterable[str]],
    left_alone: Iterable[str] = (),
    saved: Mapping[str, Any] | None = None,
) -> Report:
    """From the CachedImages, and who uses which image."""
    cached = [one for one in images if holds(one, "Cached")]
    sizes = (part(one, "status").get("size") for one in cached)
    return Report(
        images=len(images),
        cached=len(cached),
        failed=sum(1 for one in images if part(one, "status").get("phase") == "Failed"),
        bytes=sum(size for size in sizes if isinstance(size, int)),
        workloads=len({workload for workloads in uses.values() for workload in workloads}),
        risks=tuple(risks(uses, images)),
        left_alone=tuple(sorted(left_alone)),
        saved=saved,
    )
