"""The plan: what differs between a cluster as it is and as it would be."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kuik.plan.change import Change
from kuik.plan.outcome import Kept, Outcome
from kuik.plan.rewriting import Container

CACHE, EXPIRE, REMOVE, USE, TERMS = "cache", "expire", "remove", "use", "terms"


@dataclass(frozen=True, slots=True)
class ImageChange:
    """What becomes of one image: `cache` it is copied; `expire` nothing uses it any more, so that it goes after its
    retention; `remove` it goes at once, as that is over; `use` it stays, as it is used again; `terms` it is kept
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


@dataclass(frozen=True)
class Plan:
    """Everything that changes, and how much does not."""

    policies: Change
    images: tuple[ImageChange, ...]
    workloads: tuple[WorkloadChange, ...]
    images_as_they_are: int
    containers_as_they_are: int

    @property
    def changes(self) -> bool:
        """Whether the cluster would do anything differently."""
        return bool(self.images or self.workloads)

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
            "unchanged": {"images": self.images_as_they_are, "containers": self.containers_as_they_are},
            "bytes": {"expire": self.bytes(EXPIRE), "remove": self.bytes(REMOVE)},
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
    return Plan(policies, tuple(images), tuple(workloads), len(every) - len(images), len(keys) - len(workloads))


def _image(before: Outcome, after: Outcome, name: str) -> Iterator[ImageChange]:
    old, new = before.kept.get(name), after.kept.get(name)
    action = _action(old, new)
    if action:
        some = new or old
        assert some is not None  # noqa: S101 - one of the two is there
        size = some.size if some.cached or action != CACHE else None
        said_before, said_after = _said(before, old, name), _said(after, new, name)
        yield ImageChange(name, action, said_before, said_after, size, (new and new.users) or (old and old.users) or ())


def _action(old: Kept | None, new: Kept | None) -> str:
    if new is None:
        return REMOVE
    if old is None:
        return CACHE
    if bool(old.unused_since) != bool(new.unused_since):
        return EXPIRE if new.unused_since else USE
    return TERMS if old.terms != new.terms else ""


def _said(found: Outcome, kept: Kept | None, name: str) -> Mapping[str, str]:
    """The terms, and by which rules it is cached or left alone where it is used."""
    rules = sorted({str(entry.get("rule")) for (_, image), entry in found.decided.items() if image == name})
    terms = kept.terms if kept else {}
    return {**terms, **({"rules": ", ".join(rules)} if rules else {})}


def _differs(old: Container | None, new: Container | None) -> bool:
    if old is None or new is None:
        return old is not new
    return old.rewritten != new.rewritten  # for another reason, the same is done


def _verdict(one: Container | None) -> dict[str, Any] | None:
    if one is None:
        return None
    return {"rewritten": one.rewritten, **({"rule": one.why, "message": one.message} if one.why else {})}
