"""Scenarios on the product's own loop: in memory, or against an API server."""

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from kube.paths import KINDS
from kube.schema import defaulted, validate
from kube.types import API_VERSION, CACHE_LABEL, Key, Object, format_time
from kuik.driver.apply import applied, remembering
from kuik.driver.controllers import load
from kuik.driver.loop import Driver
from kuik.driver.objects import Objects, Shelf, Store
from kuik.driver.troubles import SyncsFailed
from tests.cluster.rig.workloads import namespace
from tests.scenarios.cluster import JOBS, Cluster
from tests.scenarios.hooks import Clock, Hooks

NAME_LABEL = "kubernetes.io/metadata.name"
SOON = timedelta(seconds=5)
RESYNC = 600
"""Seconds after which Metacontroller syncs every parent anew: the controllers' resyncPeriodSeconds."""

_MAX_ROUNDS = 100
_CONTROLLERS = load()


class Killed(BaseException):
    """The process of the loop ends here."""


class Cut:
    """Counts writes, and ends the process after one of them."""

    def __init__(self) -> None:
        self.writes = 0
        self.after = 0

        self._on = False

    def count(self) -> None:
        """One more write has been made; raises Killed where the loop made it and it is the last one."""
        self.writes += self._on
        if self._on and self.writes == self.after:
            raise Killed

    @contextmanager
    def counting(self) -> Iterator[None]:
        """What is written meanwhile is the loop's."""
        self._on = True
        try:
            yield
        finally:
            self._on = False


class Looped(Cluster):
    """What both have in common."""

    shelf: Shelf
    clock: Clock
    cut: Cut

    @property
    @abstractmethod
    def store(self) -> Store: ...

    @abstractmethod
    def look(self) -> None:
        """See what others have written."""

    def start(self) -> None:
        """A new process, which remembers nothing."""
        self.driver = Driver(self.store, _CONTROLLERS, self.hooks, self.clock.now)

    def every(self, kind: str) -> list[Object]:
        return list(self.shelf.list(KINDS[kind].api_version, kind))

    def advance(self, seconds: float) -> None:
        self.clock.ahead += timedelta(seconds=seconds)
        if seconds >= RESYNC:
            self.start()  # which syncs every parent anew, as Metacontroller does after that time

    def settle(self) -> None:
        self._rest()
        self.start()
        writes = self.cut.writes
        with self.cut.counting():
            self.driver.settle()
        assert self.cut.writes == writes, "a sync of what is at rest writes"

    def attempt(self) -> None:
        self.start()
        self.look()
        try:
            self.driver.settle()
        except SyncsFailed:
            return

    def _rest(self) -> None:
        for _ in range(_MAX_ROUNDS):
            self.look()
            before = self.shelf.revision
            try:
                with self.cut.counting():
                    self.driver.settle()
            except Killed:
                self.start()
                continue
            due = self.driver.next_resync()
            if due is not None and due <= self.clock.now() + SOON:
                self.clock.ahead += max(timedelta(), due - self.clock.now())
                continue
            self.look()
            if self.shelf.revision == before:
                return
        raise AssertionError(f"no rest in {_MAX_ROUNDS} rounds")


class _Counted(Objects):
    """Objects in memory whose writes count; what a deletion takes with it is garbage collection, not a write."""

    def __init__(self, clock: Clock, cut: Cut) -> None:
        super().__init__(clock.now)
        self._cut = cut
        self._deleting = False

    def put(self, obj: Any) -> bool:
        return self._counted(super().put(obj))

    def put_status(self, key: Key, status: Any) -> bool:
        return self._counted(super().put_status(key, status))

    def delete(self, key: Key) -> None:
        if self._deleting:
            super().delete(key)
            return
        before = self.revision
        self._deleting = True
        super().delete(key)
        self._deleting = False
        self._counted(self.revision != before)

    def _counted(self, changed: bool) -> bool:
        if changed:
            self._cut.count()
        return changed


class Memory(Looped):
    """The loop over objects in memory, with what an API server and its controllers add to them."""

    def __init__(self) -> None:
        self.clock = Clock(lambda: datetime(2026, 1, 1, tzinfo=UTC))
        self.cut = Cut()
        self.shelf = self._objects = _Counted(self.clock, self.cut)
        self.hooks = Hooks(self.clock, self.every)
        self.start()
        self.apply(namespace(JOBS, **{CACHE_LABEL: "false"}))

    @property
    def store(self) -> Store:
        return self._objects

    def look(self) -> None:
        """All writes are seen at once. The Job controller says of a new Job when it began, and that no pod runs."""
        for job in self.every("Job"):
            if "status" not in job:
                self.report(job, {"startTime": format_time(self.clock.now()), "active": 1, "ready": 0})

    def apply(self, *objects: Object) -> None:
        for given in objects:
            obj = _admitted(given)
            seen = self._objects.get(Key.of(obj))
            self._objects.put(applied(seen, obj) if seen else remembering(obj, obj))

    def delete(self, kind: str, name: str, namespace: str = "", *, orphan: bool = False) -> None:
        objects = self._objects
        key = Key(KINDS[kind].api_version, kind, namespace, name)
        if kind == "Namespace":
            for inside in [Key.of(o) for other in KINDS for o in self.every(other) if _inside(o, name)]:
                objects.delete(inside)
        if orphan:
            objects.orphan(key)
        else:
            objects.delete(key)

    def change(self, obj: Object, change: Object) -> None:
        seen = self._objects.get(Key.of(obj))
        assert seen, f"{obj['kind']} {obj['metadata']['name']} is not there"
        self._objects.put(_merged(seen, change))

    def report(self, obj: Object, status: Object) -> None:
        self._objects.put_status(Key.of(obj), status)

    def bind(self, pod: Object, node: str) -> None:
        self.change(pod, {"spec": {"nodeName": node}})

    def beat(self, node: str) -> None:
        """Nobody listens here."""

    def vanish(self, pod: Object) -> None:
        """Deleted pods are gone here at once."""

    def end(self, job: Object, annotations: dict[str, str] | None = None, *, failed: bool = False) -> None:
        self.change(job, {"metadata": {"annotations": annotations or {}}})
        ended = {"type": "Failed" if failed else "Complete", "status": "True"}
        self.report(job, {"conditions": [{**ended, "lastTransitionTime": format_time(self.clock.now())}]})


def _merged(obj: Any, change: Object) -> Object:
    """RFC 7386, for what no scenario takes away."""
    whole = dict(obj) if isinstance(obj, dict) else {}
    for name, value in change.items():
        whole[name] = _merged(whole.get(name), value) if isinstance(value, dict) else value
    return whole


def _inside(obj: Object, namespace: str) -> bool:
    return bool(obj["metadata"].get("namespace", "") == namespace)


def _admitted(obj: Object) -> Object:
    """As an API server keeps what is applied."""
    if obj["apiVersion"] == API_VERSION:
        full = defaulted(obj)
        assert not validate(full), validate(full)
        return full
    if obj["kind"] != "Namespace":
        return obj
    meta = obj["metadata"]
    return {**obj, "metadata": {**meta, "labels": {**(meta.get("labels") or {}), NAME_LABEL: meta["name"]}}}
