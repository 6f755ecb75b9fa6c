"""The plan: what differs between a cluster as it is and as it would be."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from hooks.quotas import Account
from kuik.plan.change import Change
from kuik.plan.outcome import Kept, Outcome
from kuik.plan.rewriting import Container
from kuik.plan.room import Prefetch

CACHE, HOLD, EXPIRE, LEAVE, REMOVE, USE, TERMS = "cache", "hold", "expire", "leave", "remove", "use", "terms"


@dataclass(frozen=True, slots=True)
class ImageChange:
    """What becomes of one image: `cache` it is copied; `hold` it is not, as the namespaces that use it have as much as
    they may; `expire` nothing uses it any more, so that it goes after its retention; `leave` it goes before that, for
    want of room; `remove` it goes at once, as that is over; `use` it stays, as it is used again; `terms` it is kept
    otherwise. `bytes` is None where the size is not known."""

    image: str
    action: str
    before: Mapping[str, str]
    after: Mapping[str, str]
    bytes: int | None
    users: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WorkloadChange:
    """What becomes of one container when its pods are made the next time; None where the container is not there."""

    before: Container | None
    after: Container | None

    @property
    def container(self) -> Container:
        found = self.after or self.before
        assert found is not None  # noqa: S101 - one of the two is there
        return found


@dataclass(frozen=True, slots=True)
class QuotaChange:
    """What a namespace may have and has, in bytes; None where it has no quota."""

    namespace: str
    before: Account | None
    after: Account | None


@dataclass(frozen=True, slots=True)
class PrefetchChange:
    """What is pulled onto nodes ahead of need; None where there is no such rule."""

    before: Prefetch | None
    after: Prefetch | None

    @property
    def prefetch(self) -> Prefetch:
        """As it would be, or as it was."""
        found = self.after or self.before
        assert found is not None  # noqa: S101 - one of the two is there
        return found


@dataclass(frozen=True)
class Plan:
    """Everything that changes, and how much does not."""

    policies: Change
    images: tuple[ImageChange, ...]
    workloads: tuple[WorkloadChange, ...]
    images_as_they_are: int
    containers_as_they_are: int
    quotas: tuple[QuotaChange, ...] = ()
    prefetches: tuple[PrefetchChange, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether the cluster would do anything differently."""
        return bool(self.images or self.workloads or self.quotas or self.prefetches)

    @property
    def counts(self) -> Mapping[str, int]:
        """How many images have each action, and how many containers begin or end to be rewritten."""
        found = Counter(one.action for one in self.images)
        found["rewritten"] = sum(1 for one in self.workloads if one.after and one.after.rewritten)
        found["leftAlone"] = sum(1 for one in self.workloads if one.after and not one.after.rewritten)
        return found

    def bytes(self, *actions: str) -> int:
        """The bytes of the images with these actions, as far as they are known."""
        return sum(one.bytes or 0 for one in self.images if one.action in actions)

    def document(self) -> dict[str, Any]:
        """The plan as JSON."""
        return {
            "changes": self.changes,
            "policies": self.policies.document(),
            "images": [
                {
                    "image": one.image,
                    "action": one.action,
                    "before": dict(one.before),
                    "after": dict(one.after),
                    "bytes": one.bytes,
                    "usedBy": list(one.users),
                }
                for one in self.images
            ],
            "workloads": [
                {
                    "workload": one.container.workload,
                    "container": one.container.name,
                    "image": one.container.image,
                    "before": _verdict(one.before),
                    "after": _verdict(one.after),
                }
                for one in self.workloads
            ],
            "quotas": [
                {"namespace": one.namespace, "before": _account(one.before), "after": _account(one.after)}
                for one in self.quotas
            ],
            "prefetches": [
                {
                    "prefetch": one.prefetch.origin,
                    "before": one.before and one.before.document(),
                    "after": one.after and one.after.document(),
                }
                for one in self.prefetches
            ],
            "unchanged": {"images": self.images_as_they_are, "containers": self.containers_as_they_are},
            "bytes": {action: self.bytes(action) for action in (EXPIRE, LEAVE, REMOVE)},
        }


def difference(policies: Change, before: Outcome, after: Outcome) -> Plan:
    """What the change of policies makes of the cluster, in the order of names."""
    every = sorted(before.kept.keys() | after.kept.keys())
    images = [one for name in every for one in _image(before, after, name)]
    keys = sorted(before.containers.keys() | after.containers.keys())
    workloads = [
        WorkloadChange(before.containers.get(key), after.containers.get(key))
        for key in keys
        if _differs(before.containers.get(key), after.containers.get(key))
    ]
    as_they_are = (len(every) - len(images), len(keys) - len(workloads))
    return Plan(
        policies,
        tuple(images),
        tuple(workloads),
        *as_they_are,
        tuple(_quotas(before.quotas, after.quotas)),
        tuple(_prefetches(before.prefetches, after.prefetches)),
    )


def _quotas(before: Mapping[str, Account], after: Mapping[str, Account]) -> Iterator[QuotaChange]:
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old is None or new is None or (old.most, is_over(old)) != (new.most, is_over(new)):
            yield QuotaChange(name, old, new)


def is_over(account: Account) -> bool:
    """Whether a namespace has all that it may have, so that nothing is copied for it any more."""
    return account.used >= account.most


def _prefetches(before: Mapping[str, Prefetch], after: Mapping[str, Prefetch]) -> Iterator[PrefetchChange]:
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old is None or new is None or replace(old, bytes=None) != replace(new, bytes=None):
            yield PrefetchChange(old, new)


def _image(before: Outcome, after: Outcome, name: str) -> Iterator[ImageChange]:
    old, new = before.kept.get(name), after.kept.get(name)
    action = _action(old, new)
    if action:
        some = new or old
        assert some is not None  # noqa: S101 - one of the two is there
        size = some.size if some.cached or action not in (CACHE, HOLD) else None
        said_before, said_after = _said(before, old, name), _said(after, new, name)
        yield ImageChange(name, action, said_before, said_after, size, (new and new.users) or (old and old.users) or ())


def _action(old: Kept | None, new: Kept | None) -> str:
    if new is None:
        return REMOVE
    if new.hold and not (old and old.hold):
        return HOLD
    if old is None or (old.hold and not new.hold and not new.unused_since):
        return CACHE
    if new.leaves and not old.leaves:
        return LEAVE
    if bool(old.unused_since) != bool(new.unused_since):
        return EXPIRE if new.unused_since else USE
    return TERMS if old.terms != new.terms else ""


def _said(found: Outcome, kept: Kept | None, name: str) -> Mapping[str, str]:
    """The terms, and by which rules it is cached or left alone where it is used."""
    rules = sorted({str(entry.get("rule")) for (_, image), entry in found.decided.items() if image == name})
    terms = kept.terms if kept else {}
    why = {"hold": kept.hold, "leaves": kept.leaves} if kept else {}
    why = {name: text for name, text in why.items() if text}
    return {**terms, **why, **({"rules": ", ".join(rules)} if rules else {})}


def _differs(old: Container | None, new: Container | None) -> bool:
    if old is None or new is None:
        return old is not new
    return old.rewritten != new.rewritten  # for another reason, the same is done


def _account(one: Account | None) -> dict[str, Any] | None:
    return None if one is None else {"bytes": one.most, "used": one.used, "over": is_over(one)}


def _verdict(one: Container | None) -> dict[str, Any] | None:
    if one is None:
        return None
    return {"rewritten": one.rewritten, **({"rule": one.why, "message": one.message} if one.why else {})}
