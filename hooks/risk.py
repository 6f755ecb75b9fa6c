"""Which workloads use an image that is not safe in the cache, or that only the cache has any more, and why.

Pure, on API objects alone: the ImageCache's status and `kuik report` say the same of the same cluster.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hooks.conditions import FALSE, condition, holds
from kube.types import Object, entries, part, texts

GONE_UPSTREAM = "GoneUpstream"
DAMAGED = "Damaged"
LEFT_ALONE = "LeftAlone"
NOT_CACHED_YET = frozenset({"Pending", "Copying", "Stalled"})
"""Reasons of what is on its way: nothing is wrong with it yet."""

MOST_LISTED = 20
_GRAVEST = ("NotFound", "Corrupt", "Missing", "Unauthorized")
_LEAST = (DAMAGED, GONE_UPSTREAM, LEFT_ALONE)
_MAX_MESSAGE = 256


@dataclass(frozen=True, slots=True)
class Risk:
    """A workload (`namespace/kind/name`) whose image might not come again, and why.

    `reason` is that of the image's condition Cached; GONE_UPSTREAM and DAMAGED for images that are served from the
    cache all the same; LEFT_ALONE for what is not cached because somebody said so.
    """

    workload: str
    image: str
    reason: str
    message: str = ""

    @property
    def served(self) -> bool:
        """Whether the cache serves the image now."""
        return self.reason in (GONE_UPSTREAM, DAMAGED)

    def entry(self) -> Mapping[str, str]:
        """As the ImageCache's status says it."""
        said = {"workload": self.workload, "image": self.image, "reason": self.reason}
        return {**said, **({"message": self.message[:_MAX_MESSAGE]} if self.message else {})}

    @property
    def rank(self) -> tuple[int, str, str]:
        """The gravest comes first."""
        if self.reason in _GRAVEST:
            grave = _GRAVEST.index(self.reason)
        elif self.reason in NOT_CACHED_YET:
            grave = len(_GRAVEST) + 1
        elif self.reason in _LEAST:
            grave = len(_GRAVEST) + 2 + _LEAST.index(self.reason)
        else:
            grave = len(_GRAVEST)
        return (grave, self.workload, self.image)


def reason(image: Object) -> tuple[str, str]:
    """Why a CachedImage is not safe, with a sentence; both empty where it is."""
    cached, proven = condition(image, "Cached"), condition(image, "Verified")
    if cached is None or cached.get("status") != "True":
        found = cached or {"reason": "Pending"}
        return str(found.get("reason", "Pending")), str(found.get("message", ""))
    if is_gone_upstream(image):
        return GONE_UPSTREAM, "upstream has no such tag any more: only the cache has it"
    if proven is not None and proven.get("status") == FALSE:
        return DAMAGED, str(proven.get("message", ""))
    return "", ""


def is_gone_upstream(image: Object) -> bool:
    """Whether upstream has no such tag any more."""
    found = condition(image, "UpToDate")
    return found is not None and found.get("status") == FALSE and found.get("reason") == "Gone"


def risks(images: Iterable[Object]) -> Sequence[Risk]:
    """The workloads that CachedImages name as their users (the first 20 of each), the gravest first."""
    return sorted((one for image in images for one in _risks(image)), key=lambda one: one.rank)


def workloads_at_risk(images: Iterable[Object]) -> int:
    """How many workloads use such an image. One beyond the first 20 of an image counts once for each image."""
    named: set[str] = set()
    more = 0
    for image in images:
        found = [one.workload for one in _risks(image)]
        named.update(found)
        total = part(image, "spec").get("users")
        if found and isinstance(total, int):
            more += max(0, total - len(texts(part(image, "spec"), "usedBy")))
    return len(named) + more


def left_alone(inventories: Iterable[Object]) -> Iterator[Risk]:
    """Of ImageInventories, the workloads whose images are not cached because a rule says so, or because none can be."""
    for inventory in inventories:
        spec = part(inventory, "spec")
        for entry in entries(spec, "images"):
            if entry.get("decision") != "Ignore":
                continue
            said = ": ".join(str(entry[field]) for field in ("rule", "message") if entry.get(field))
            for user in texts(entry, "usedBy"):
                yield Risk(f"{spec.get('namespace', '')}/{user}", str(entry.get("image", "")), LEFT_ALONE, said)


def _risks(image: Object) -> Iterator[Risk]:
    spec = part(image, "spec")
    users = [user for user in texts(spec, "usedBy") if user.count("/") > 1]  # a policy runs nothing
    if not users or (holds(image, "Cached") and not reason(image)[0]):
        return
    why, message = reason(image)
    name: Any = spec.get("image", "")
    for user in users:
        yield Risk(user, str(name), why, message)
