"""The driver: calls the stages for every parent until nothing changes, as Metacontroller does for what we use of it."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import orjson

from kube.types import Key, Object
from kuik.driver.apply import applied, remembering
from kuik.driver.controllers import Controller, Resource
from kuik.driver.objects import Objects, owner_uids
from kuik.driver.related import matching

MAX_ROUNDS = 100


class NotSettled(RuntimeError):
    """The stages kept changing their output although nothing else changed."""


class Hooks(Protocol):
    """What answers as the hooks' endpoints do: requests and responses in Metacontroller's form."""

    def sync(self, stage: str, request: Mapping[str, Any]) -> Mapping[str, Any]: ...
    def customize(self, stage: str, request: Mapping[str, Any]) -> Mapping[str, Any]: ...


@dataclass
class _Seen:
    """What a parent was last synced with, and when it asked to be called again."""

    request: str = ""
    resync: datetime | None = None


class Driver:
    """Runs `controllers` over `objects`."""

    def __init__(
        self, objects: Objects, controllers: Iterable[Controller], hooks: Hooks, now: Callable[[], datetime]
    ) -> None:
        self._objects = objects
        self._controllers = tuple(controllers)
        self._hooks = hooks
        self._now = now
        self._seen: dict[tuple[str, Key], _Seen] = {}
        self._settled = -1

    def settle(self) -> int:
        """Sync every parent whose request changed or whose resync is due, until none is left; returns the syncs made.

        Raises NotSettled after too many rounds.
        """
        resync = self.next_resync()
        if self._settled == self._objects.revision and (resync is None or resync > self._now()):
            return 0
        syncs = 0
        for _ in range(MAX_ROUNDS):
            made = sum(self._pass(controller) for controller in self._controllers)
            if not made:
                self._settled = self._objects.revision
                return syncs
            syncs += made
        raise NotSettled(f"the stages did not come to rest in {MAX_ROUNDS} rounds")

    def next_resync(self) -> datetime | None:
        """When the next parent wants to be synced although nothing changed."""
        return min((seen.resync for seen in self._seen.values() if seen.resync), default=None)

    def _pass(self, controller: Controller) -> int:
        parents = list(self._objects.list(controller.parent.api_version, controller.parent.kind))
        keys = {Key.of(parent) for parent in parents}
        for gone in [k for k in self._seen if k[0] == controller.name and k[1] not in keys]:
            del self._seen[gone]
        return sum(self._sync(controller, Key.of(parent)) for parent in parents)

    def _sync(self, controller: Controller, key: Key) -> bool:
        parent = self._objects.get(key)
        if parent is None:
            return False
        children = self._children(controller, parent)
        request = self._request(controller, parent, children)
        seen = self._seen.setdefault((controller.name, key), _Seen())
        body = orjson.dumps(request, option=orjson.OPT_SORT_KEYS)
        print_ = _print(controller, request, body)
        due = seen.resync is not None and seen.resync <= self._now()
        if seen.request == print_ and not due:
            return False
        response = self._hooks.sync(controller.stage, orjson.loads(body))
        seen.request = print_
        after = float(response.get("resyncAfterSeconds") or 0)
        seen.resync = self._now() + timedelta(seconds=after) if after > 0 else None
        desired = response.get("attachments" if controller.decorator else "children") or []
        self._write_children(controller, parent, children, desired)
        if not controller.decorator:
            generation = {"observedGeneration": parent["metadata"]["generation"]}
            self._objects.put_status(key, {**(response.get("status") or {}), **generation})
        return True

    def _request(self, controller: Controller, parent: Object, children: Mapping[Key, Object]) -> dict[str, Any]:
        groups: dict[str, dict[str, Object]] = {resource.group: {} for resource in controller.children}
        for key, child in children.items():
            groups[f"{key.kind}.{key.api_version}"][_relative(key, parent)] = child
        return {
            "controller": {"metadata": {"name": controller.name}},
            "object" if controller.decorator else "parent": parent,
            "attachments" if controller.decorator else "children": groups,
            "related": self._related(controller, parent),
            "finalizing": False,
        }

    def _related(self, controller: Controller, parent: Object) -> dict[str, dict[str, Object]]:
        if not controller.customize:
            return {}
        question = {"controller": {"metadata": {"name": controller.name}}, "parent": parent}
        groups: dict[str, dict[str, Object]] = {}
        for rule in self._hooks.customize(controller.stage, question).get("relatedResources", ()):
            resource = Resource.read(rule)
            found = groups.setdefault(resource.group, {})
            for obj in matching(self._objects, resource, rule):
                found[_relative(Key.of(obj), parent)] = obj
        return groups

    def _children(self, controller: Controller, parent: Object) -> dict[Key, Object]:
        """The parent's children, after adopting orphans that its selector matches."""
        selector = _selector(controller, parent)
        if selector:
            for resource in controller.children:
                self._adopt(resource, selector, parent)
        kinds = {(resource.api_version, resource.kind) for resource in controller.children}
        owned = self._objects.owned_by(parent["metadata"]["uid"])
        found = {key: self._objects.get(key) for key in owned if (key.api_version, key.kind) in kinds}
        return {key: child for key, child in found.items() if child is not None}

    def _adopt(self, resource: Resource, selector: Mapping[str, str], parent: Object) -> None:
        for obj in list(self._objects.list(resource.api_version, resource.kind)):
            labels = obj["metadata"].get("labels") or {}
            if not owner_uids(obj) and selector.items() <= labels.items():
                self._objects.put(_owned(obj, parent))

    def _write_children(
        self, controller: Controller, parent: Object, observed: Mapping[Key, Object], desired: Iterable[Object]
    ) -> None:
        strategies = {resource.group: resource.strategy for resource in controller.children}
        wanted = {Key.of(child): child for child in desired}
        for key in [key for key in observed if key not in wanted]:
            self._objects.delete(key)
        labels = {"controller-uid": parent["metadata"]["uid"]} if controller.generate_selector else {}
        for key, child in wanted.items():
            strategy = strategies.get(f"{key.kind}.{key.api_version}")
            if strategy is None:
                raise NotSettled(f"controller {controller.name} returned a {key.kind}, which it does not declare")
            labelled = _labelled(child, labels)
            if key not in observed:
                self._objects.put(_owned(remembering(labelled, labelled), parent))
            elif strategy == "InPlace":
                self._objects.put(applied(observed[key], labelled))
            elif strategy == "Recreate" and applied(observed[key], labelled) != observed[key]:
                self._objects.delete(key)


def _print(controller: Controller, request: Mapping[str, Any], body: bytes) -> str:
    """What tells one request from another, as far as the controller looks at the difference."""
    if controller.ignore_status:
        parent = request["parent"]
        ignored = ("resourceVersion", "managedFields")
        kept = {name: value for name, value in parent["metadata"].items() if name not in ignored}
        body = orjson.dumps({**request, "parent": {**parent, "metadata": kept, "status": None}})
    return hashlib.sha256(body).hexdigest()


def _relative(key: Key, parent: Object) -> str:
    """How a request names an object: `ns/name` under a cluster-scoped parent, else `name`."""
    inside = parent["metadata"].get("namespace", "")
    return f"{key.namespace}/{key.name}" if key.namespace and not inside else key.name


def _selector(controller: Controller, parent: Object) -> dict[str, str]:
    """What finds orphans to adopt; a generated selector holds the parent's uid, so there it is the owner alone."""
    if controller.decorator or controller.generate_selector:
        return {}
    selector: dict[str, str] = ((parent.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
    return selector


def _labelled(child: Object, labels: Mapping[str, str]) -> Object:
    metadata = child["metadata"]
    return {**child, "metadata": {**metadata, "labels": {**(metadata.get("labels") or {}), **labels}}}


def _owned(child: Object, parent: Object) -> Object:
    owner = {
        "apiVersion": parent["apiVersion"],
        "kind": parent["kind"],
        "name": parent["metadata"]["name"],
        "uid": parent["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {**child, "metadata": {**child["metadata"], "ownerReferences": [owner]}}
