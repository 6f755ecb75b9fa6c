"""Metacontroller's contract: requests read into values, answers written in its form.

Metacontroller deletes children that an answer leaves out. So what cannot be understood raises Unreadable, which the
edge answers with 5xx, and never becomes an answer with less in it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

from hooks.facts import Context, Gather, Group, Groups, Observation, Questions
from kube.types import Object, group_key, metadata

_LONGEST_RESYNC = 365 * 86400.0
"""Seconds: Metacontroller counts nanoseconds in 64 bits, and what is more than 292 years would be at once."""


class Unreadable(ValueError):
    """The request is not one that this stage can answer; the message names the field."""


class Style(Enum):
    """The kind of controller that calls a stage, which decides the field names of its messages."""

    COMPOSITE = ("parent", "children")
    DECORATOR = ("object", "attachments")

    @property
    def parent(self) -> str:
        return self.value[0]

    @property
    def children(self) -> str:
        return self.value[1]


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind by the two names it has: `resource` in URLs and rules, `kind` in objects."""

    api_version: str
    kind: str
    resource: str

    @property
    def group(self) -> str:
        return group_key(self.api_version, self.kind)


@dataclass(frozen=True, slots=True)
class RelatedRule:
    """Objects that a stage wants to see beside its children: all of a resource, or those of one namespace or label.

    With `names`, those that are called so, and neither namespace nor labels.
    """

    resource: Resource
    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    names: Sequence[str] = ()

    def message(self) -> dict[str, Any]:
        rule: dict[str, Any] = {"apiVersion": self.resource.api_version, "resource": self.resource.resource}
        if self.names:
            return {**rule, "names": list(self.names)}
        selector = {"labelSelector": {"matchLabels": dict(self.labels)}} if self.labels else {}
        return {**rule, **({"namespace": self.namespace} if self.namespace else {}), **selector}


@dataclass(frozen=True, slots=True)
class Desired:
    """What a stage wants to be. Children that it leaves out are deleted. `resync_after` is in seconds, 0 for never."""

    children: Sequence[Object] = ()
    status: Object | None = None
    resync_after: float = 0.0


def _asks_nothing(_parent: Object, _children: Groups, _now: datetime) -> Questions:
    return Questions()


@dataclass(frozen=True, slots=True)
class Stage:
    """One pure function with what its messages look like.

    `asks` tells the edge what it has to know besides, from the parent and all objects that came with it.
    """

    name: str
    style: Style
    parent: Resource
    children: tuple[Resource, ...]
    sync: Callable[[Object, Groups, Observation], Desired]
    customize: Callable[[Object], Sequence[RelatedRule]]
    asks: Callable[[Object, Groups, datetime], Questions] = _asks_nothing


def answer(stage: Stage, request: Mapping[str, Any], context: Context, gather: Gather | None = None) -> dict[str, Any]:
    """The response to a sync request; raises Unreadable. `gather` finds out what the stage asks for."""
    parent = _parent(stage, request, stage.style.parent)
    wanted = {rule.resource.group for rule in stage.customize(parent)}
    children = _groups(request, stage.style.children, {child.group for child in stage.children})
    related = _groups(request, "related", wanted)
    if gather is not None:
        context = gather(stage.asks(parent, {**related, **children}, context.now), context)
    desired = stage.sync(parent, children, context.observe(related))
    status = {} if stage.style is Style.DECORATOR else {"status": desired.status or {}}
    resync = {"resyncAfterSeconds": min(desired.resync_after, _LONGEST_RESYNC)}
    return {**status, stage.style.children: list(desired.children), **resync}


def customize(stage: Stage, request: Mapping[str, Any]) -> dict[str, Any]:
    """The response to a customize request; raises Unreadable."""
    parent = _parent(stage, request, "parent")  # so named for decorators too
    return {"relatedResources": [rule.message() for rule in stage.customize(parent)]}


def _parent(stage: Stage, request: Mapping[str, Any], field: str) -> Object:
    parent = request.get(field) if isinstance(request, Mapping) else None
    if not isinstance(parent, Mapping):
        raise Unreadable(f"{field}: the request has no {stage.parent.kind}")
    found = (parent.get("apiVersion"), parent.get("kind"))
    if found != (stage.parent.api_version, stage.parent.kind):
        wanted = f"{stage.parent.api_version} {stage.parent.kind}"
        raise Unreadable(f"{field}: stage {stage.name} answers for {wanted}, not for {found[0]} {found[1]}")
    if not _is_named(parent):
        raise Unreadable(f"{field}: metadata.name is missing")
    return parent


def _groups(request: Mapping[str, Any], field: str, wanted: set[str]) -> Groups:
    groups = request.get(field)
    if groups is None and not wanted:
        return {}
    if not isinstance(groups, Mapping):
        raise Unreadable(f"{field}: not an object of kinds")
    missing = sorted(wanted - groups.keys())
    if missing:
        raise Unreadable(f"{field}: {', '.join(missing)} is missing, so nothing can be said of what is there")
    return {group: _group(groups[group], f"{field}[{group}]") for group in groups}


def _group(value: Any, field: str) -> Group:
    # Metacontroller writes an empty group as {} or null.
    group = {} if value is None else value
    if not isinstance(group, Mapping):
        raise Unreadable(f"{field}: not an object of objects")
    for name, obj in group.items():
        if not _is_named(obj):
            raise Unreadable(f"{field}[{name}]: metadata.name is missing")
    return group


def _is_named(obj: Any) -> bool:
    name = metadata(obj).get("name") if type(obj) is dict or isinstance(obj, Mapping) else None
    return isinstance(name, str) and bool(name)
