"""The driver: calls the stages for every parent until nothing changes, as Metacontroller does for what we use of it."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import orjson

from kube.types import Key, Object
from kuik.driver.children import claimed, desired_children, write_children
from kuik.driver.controllers import Controller, Resource
from kuik.driver.objects import Store
from kuik.driver.related import matching
from kuik.driver.troubles import BadAnswer, SyncsFailed, trouble_of

MAX_ROUNDS = 100


class NotSettled(RuntimeError):
    """The stages kept changing their output although nothing else changed."""


class Hooks(Protocol):
    """What answers as the hooks' endpoints do: requests and responses in Metacontroller's form.

    Raises HookFailed where an endpoint would not answer with 200.
    """

    def sync(self, stage: str, request: Mapping[str, Any]) -> Mapping[str, Any]: ...
    def customize(self, stage: str, request: Mapping[str, Any]) -> Mapping[str, Any]: ...


@dataclass
class _Seen:
    """What a parent was last synced with, and when it asked to be called again.

    `failed` is the request whose sync failed in this settling, `trouble` is why.
    """

    request: str = ""
    resync: datetime | None = None
    failed: str = ""
    trouble: Exception | None = None


class Driver:
    """Runs `controllers` over `objects`."""

    def __init__(
        self, objects: Store, controllers: Iterable[Controller], hooks: Hooks, now: Callable[[], datetime]
    ) -> None:
        self._objects = objects
        self._controllers = tuple(controllers)
        self._hooks = hooks
        self._now = now
        self._seen: dict[tuple[str, Key], _Seen] = {}
        self._settled = -1

    def settle(self) -> int:
        """Sync every parent whose request changed or whose resync is due, until none is left; returns the syncs made.

        A sync that fails changes nothing and keeps no other parent from its own: SyncsFailed is raised when all is
        done, and the next call tries it again. Raises NotSettled after too many rounds.
        """
        resync = self.next_resync()
        if self._settled == self._objects.revision and (resync is None or resync > self._now()):
            return 0
        self._settled = -1
        for seen in self._seen.values():
            seen.failed, seen.trouble = "", None
        syncs = 0
        for _ in range(MAX_ROUNDS):
            made = sum(self._pass(controller) for controller in self._controllers)
            if not made:
                self._check()
                self._settled = self._objects.revision
                return syncs
            syncs += made
        raise NotSettled(f"the stages did not come to rest in {MAX_ROUNDS} rounds")

    def again(self) -> None:
        """Ask for every parent again at the next `settle`: what the hooks know besides the objects has changed."""
        self._seen.clear()
        self._settled = -1

    def next_resync(self) -> datetime | None:
        """When the next parent wants to be synced although nothing changed."""
        return min((seen.resync for seen in self._seen.values() if seen.resync), default=None)

    def _check(self) -> None:
        failed = {f"{name}/{key.name}": seen.trouble for (name, key), seen in self._seen.items() if seen.trouble}
        if failed:
            raise SyncsFailed(failed) from next(iter(failed.values()))

    def _pass(self, controller: Controller) -> int:
        parents = list(self._objects.list(controller.parent.api_version, controller.parent.kind))
        keys = {Key.of(parent) for parent in parents}
        for gone in [k for k in self._seen if k[0] == controller.name and k[1] not in keys]:
            del self._seen[gone]
        return sum(self._try(controller, Key.of(parent)) for parent in parents)

    def _try(self, controller: Controller, key: Key) -> bool:
        """Sync one parent where that is due; says whether its stage was asked, also where that came to nothing."""
        seen = self._seen.setdefault((controller.name, key), _Seen())
        before = (seen.request, seen.failed, seen.resync)
        trouble = trouble_of(lambda: self._sync(controller, key, seen))
        seen.trouble = trouble or (seen.trouble if seen.failed else None)
        return before != (seen.request, seen.failed, seen.resync)

    def _sync(self, controller: Controller, key: Key, seen: _Seen) -> None:
        parent = self._objects.get(key)
        if parent is None or parent["metadata"].get("deletionTimestamp"):
            return
        children = claimed(self._objects, controller, parent)
        request = self._request(controller, parent, children)
        body = orjson.dumps(request, option=orjson.OPT_SORT_KEYS)
        print_ = _print(controller, request, body)
        due = seen.resync is not None and seen.resync <= self._now()
        if print_ in (seen.request, seen.failed) and not due:
            return
        seen.request, seen.failed, seen.resync = "", print_, None  # what breaks off from here on is asked again
        response = self._hooks.sync(controller.stage, orjson.loads(body))
        wanted, after = desired_children(controller, response), _resync(response)
        trouble = trouble_of(lambda: write_children(self._objects, controller, parent, children, wanted))
        if not controller.decorator:
            generation = {"observedGeneration": parent["metadata"]["generation"]}
            self._objects.put_status(key, {**(response.get("status") or {}), **generation})
        if trouble:
            raise trouble
        seen.resync = self._now() + timedelta(seconds=after) if after > 0 else None
        seen.request, seen.failed = print_, ""

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
        for rule in _rules(self._hooks.customize(controller.stage, question)):
            resource = _resource(rule)
            found = groups.setdefault(resource.group, {})
            for obj in matching(self._objects, resource, rule):
                found[_relative(Key.of(obj), parent)] = obj
        return groups


def _resync(response: Mapping[str, Any]) -> float:
    after = response.get("resyncAfterSeconds") or 0
    if not isinstance(after, int | float):
        raise BadAnswer(f"resyncAfterSeconds: {after!r} is no number")
    return float(after)


def _rules(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    rules = answer.get("relatedResources") if isinstance(answer, Mapping) else None
    if not isinstance(rules, list):
        raise BadAnswer("relatedResources: the hook's answer has no such list")
    return rules


def _resource(rule: dict[str, Any]) -> Resource:
    try:
        return Resource.read(rule)
    except (KeyError, TypeError, AttributeError) as error:
        raise BadAnswer("relatedResources: one has no apiVersion, or a resource that is not known") from error


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
