"""What stage 2 tells images for want of room: to leave the registry, or not to come.

Nothing is told to leave in doubt, and what was told is taken back in doubt unless a volume has acted on it already.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hooks.capacity import STORE_FULL, Capacity, Room
from hooks.conditions import holds
from hooks.eviction import EVICTED, OVER_QUOTA, SETTLED, Unused, leaving
from hooks.facts import Group, Groups, Known
from hooks.progress import RUNNING, STALLED
from hooks.quotas import Quota, accounts, hold, namespaces_of, quotas_of
from hooks.removal import begun, gone, leaves
from hooks.resources import CACHED, CLUSTER_POLICY
from hooks.retention import unused_since
from hooks.usage import Usage
from hooks.wanted import Plan, Wanted
from kube.types import Object, part, texts

_NO_STATUS: Object = {}


@dataclass(frozen=True, slots=True)
class Space:
    """Whether there is room: `leaving` images are on their way out, `without_room` copies found a full store.

    `again` is in how many seconds there may be more that can leave, 0 for never.
    """

    capacity: Capacity
    leaving: int = 0
    without_room: int = 0
    again: float = 0.0


def wants_a_look(parent: Object, observed: Groups, now: datetime) -> bool:
    """Whether the pods themselves have to be looked at, as an image may be told to leave now, or has left."""
    images = observed[CACHED.group].values()
    quotas = quotas_of(observed[CLUSTER_POLICY.group].values())
    capacity = Capacity.read(part(parent, "spec"))
    tight = capacity.evicts and bool(Room.read(parent, capacity, ()).excess or _without_room(images))
    over = _over(images, quotas) if quotas else frozenset()
    for image in images:
        if gone(image) and leaves(image):
            return True
        if not tight and not over:
            continue
        spec = part(image, "spec")
        since = None if spec.get("remove") or spec.get("retain") is True else unused_since(spec, now)
        settled = since is not None and (now - since).total_seconds() >= SETTLED and _size(image)
        if settled and (tight or over.intersection(texts(spec, "usedBefore"))):
            return True
    return False


def make_space(alive: Sequence[Wanted], existing: Group, plan: Plan, capacity: Capacity, policies: Group) -> Space:
    """Say in each image's spec whether it is to leave, and why it is not copied where its namespaces have too much."""
    quotas = quotas_of(policies.values())
    observed = [existing.get(one.child["metadata"]["name"], _NO_STATUS) for one in alive]
    without_room = _without_room(observed)
    excess = max(plan.room.excess, 1 if without_room else 0) if capacity.evicts else 0
    if not (quotas or excess or any(map(_told, observed))):
        return Space(capacity, 0, without_room)
    shares = [_Share(one, image, _namespaces(one, plan.usage)) for one, image in zip(alive, observed, strict=True)]
    kept = accounts(((one.namespaces, one.size) for one in shares), quotas)
    looked = isinstance(plan.in_use, Known) and not plan.usage.gaps
    goes_on = frozenset(why for why, is_so in ((EVICTED, capacity.evicts), (OVER_QUOTA, bool(quotas))) if is_so)
    unused = [found for one in shares if (found := one.unused(goes_on, frozen=plan.frozen, looked=looked))]
    told = leaving(unused, excess, kept)
    for one in shares:
        one.tell(told.get(one.name, ""), hold(one.namespaces, one.users, kept))
    wants_more = excess > sum(one.size for one in unused if one.name in told)
    waits = [SETTLED - one.idle for one in shares if wants_more and one.may_leave_later]
    return Space(capacity, len(told), without_room, max(1.0, min(waits)) if waits else 0.0)


@dataclass(frozen=True, slots=True)
class _Share:
    """One image, as it is wanted and as it was observed, and the namespaces whose it is."""

    wanted: Wanted
    observed: Object
    namespaces: frozenset[str]

    @property
    def name(self) -> str:
        return str(self.wanted.child["metadata"]["name"])

    @property
    def size(self) -> int:
        return _size(self.observed)

    @property
    def users(self) -> Sequence[str]:
        return texts(self.wanted.child["spec"], "usedBy")

    @property
    def idle(self) -> float:
        """For how many seconds nothing has used it."""
        return self.wanted.idle or 0.0

    @property
    def may_leave_later(self) -> bool:
        """Whether it could make room, but has only just left its last user."""
        return self.wanted.expires is not None and self.idle < SETTLED and self.size > 0

    def unused(self, goes_on: frozenset[str], *, frozen: bool, looked: bool) -> Unused | None:
        """The image as one that may leave, or is told to already; None where it stays.

        `goes_on` are the reasons for which images leave still; with `frozen`, or where nobody `looked`, none is told.
        """
        idle, was = self.wanted.idle, _told(self.observed)
        if idle is None or part(self.observed, "spec").get("retain") is True:
            return None
        if was and not begun(self.observed) and (frozen or was not in goes_on):
            was = ""
        if not was and (self.wanted.expires is None or not looked):
            return None
        return Unused(self.name, idle, self.size, self.namespaces, was)

    def tell(self, leaves_for: str, held: Mapping[str, str] | None) -> None:
        """Write it into the spec that is wanted."""
        spec: dict[str, Any] = self.wanted.child["spec"]
        if leaves_for:
            spec["remove"] = leaves_for
        elif part(self.observed, "spec").get("remove") is not None:
            spec["remove"] = None  # also where somebody else wrote it
        status = part(self.observed, "status")
        if held and not holds(self.observed, "Cached") and status.get("copy") not in (RUNNING, STALLED):
            spec["hold"] = dict(held)


def _namespaces(one: Wanted, usage: Usage) -> frozenset[str]:
    spec = one.child["spec"]
    use = usage.uses.get(spec["image"])
    return namespaces_of(use.users) if use and use.users else frozenset(texts(spec, "usedBefore"))


def _told(image: Object) -> str:
    why = part(image, "spec").get("remove")
    return why if why in (EVICTED, OVER_QUOTA) else ""


def _size(image: Object) -> int:
    size = part(image, "status").get("size")
    counts = holds(image, "Cached") or _told(image)
    return size if counts and isinstance(size, int) and not isinstance(size, bool) else 0


def _without_room(images: Iterable[Object]) -> int:
    """How many copies failed for want of room."""
    return sum(1 for image in images if part(image, "status").get("reason") == STORE_FULL)


def _over(images: Iterable[Object], quotas: Sequence[Quota]) -> frozenset[str]:
    """The namespaces that have more than their quota, as far as the images say by themselves."""
    held = ((_by_itself(part(image, "spec")), _size(image)) for image in images)
    return frozenset(name for name, found in accounts(held, quotas).items() if found.used > found.most)


def _by_itself(spec: Object) -> frozenset[str]:
    return namespaces_of(texts(spec, "usedBy")) or frozenset(texts(spec, "usedBefore"))
