"""Kubernetes objects in memory: the part of an API server that the stages rely on."""

import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Protocol

from kube.types import Key, Object


class Store(Protocol):
    """Where the driver reads and writes objects. See Objects for what the methods promise."""

    @property
    def revision(self) -> int: ...
    def get(self, key: Key) -> Object | None: ...
    def owned_by(self, uid: str) -> list[Key]: ...
    def list(self, api_version: str, kind: str, namespace: str | None = None) -> Iterator[Object]: ...
    def put(self, obj: Mapping[str, Any]) -> bool: ...
    def put_status(self, key: Key, status: Mapping[str, Any]) -> bool: ...
    def delete(self, key: Key) -> None: ...


class Shelf:
    """Objects by key and by owner, as they were put there."""

    def __init__(self) -> None:
        self._kinds: defaultdict[tuple[str, str], dict[Key, Object]] = defaultdict(dict)
        self._owned: defaultdict[str, set[Key]] = defaultdict(set)
        self.revision = 0
        """Grows with every change."""

    def get(self, key: Key) -> Object | None:
        return self._kinds[key.api_version, key.kind].get(key)

    def owned_by(self, uid: str) -> list[Key]:
        """The keys of what an object owns, in order."""
        return sorted(self._owned.get(uid, ()))

    def list(self, api_version: str, kind: str, namespace: str | None = None) -> Iterator[Object]:
        """All objects of a kind, in the order of their keys; of one namespace where it is given."""
        found = self._kinds[api_version, kind]
        for key in sorted(found):
            if namespace in (None, key.namespace):
                yield found[key]

    def keep(self, key: Key, obj: Object) -> None:
        """Put an object in its place, whatever was there."""
        self.revision += 1
        for uid in owner_uids(self.get(key) or obj):
            self._owned[uid].discard(key)
        for uid in owner_uids(obj):
            self._owned[uid].add(key)
        self._kinds[key.api_version, key.kind][key] = obj

    def drop(self, key: Key) -> Object | None:
        """Take an object away; None where there is none."""
        gone = self._kinds[key.api_version, key.kind].pop(key, None)
        if gone is None:
            return None
        self.revision += 1
        for uid in owner_uids(gone):
            self._owned[uid].discard(key)
        return gone


class Objects(Shelf):
    """Objects by key, with the uid, generation, resourceVersion and cascading deletion that an API server gives."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        super().__init__()
        self._now = now

    def put(self, obj: Mapping[str, Any]) -> bool:
        """Create the object or replace all of it but its status; says whether that changed anything.

        The generation grows when something outside of metadata and status changed, as for objects whose status is a
        subresource. An object's first status is taken as given, so that a stored one can be loaded.
        """
        key = Key.of(obj)
        old = self.get(key)
        body = {name: value for name, value in obj.items() if name not in ("metadata", "status")}
        given = {name: value for name, value in obj["metadata"].items() if name not in _SERVER_FIELDS}
        if old is None:
            created = obj["metadata"].get("creationTimestamp") or self._now().strftime("%Y-%m-%dT%H:%M:%SZ")
            kept = {"uid": str(uuid.uuid4()), "creationTimestamp": created, "generation": 1}
            self._store(key, body, given | kept, obj.get("status"))
            return True
        kept = {name: old["metadata"][name] for name in ("uid", "creationTimestamp")}
        same_body = body == {name: value for name, value in old.items() if name not in ("metadata", "status")}
        same_meta = given == {name: value for name, value in old["metadata"].items() if name not in _SERVER_FIELDS}
        if same_body and same_meta:
            return False
        generation = old["metadata"]["generation"] + (0 if same_body else 1)
        self._store(key, body, {**given, **kept, "generation": generation}, old.get("status"))
        return True

    def put_status(self, key: Key, status: Mapping[str, Any]) -> bool:
        """Replace an object's status; says whether that changed anything. An object that is gone stays gone."""
        old = self.get(key)
        if old is None or old.get("status", {}) == status:
            return False
        body = {name: value for name, value in old.items() if name not in ("metadata", "status")}
        self._store(key, body, dict(old["metadata"]), status)
        return True

    def delete(self, key: Key) -> None:
        """Remove an object and, as Kubernetes' garbage collection does, everything that it owns."""
        gone = self.drop(key)
        for owned in self.owned_by(gone["metadata"]["uid"]) if gone else ():
            self.delete(owned)

    def orphan(self, key: Key) -> None:
        """Remove an object and leave what it owns, without an owner."""
        gone = self.drop(key)
        uid = gone["metadata"]["uid"] if gone else ""
        for owned in self.owned_by(uid):
            child = self.get(owned)
            if child is not None:
                others = [one for one in child["metadata"]["ownerReferences"] if one.get("uid") != uid]
                self.put({**child, "metadata": {**child["metadata"], "ownerReferences": others}})

    def _store(
        self, key: Key, body: Mapping[str, Any], metadata: dict[str, Any], status: Mapping[str, Any] | None
    ) -> None:
        metadata["resourceVersion"] = str(self.revision + 1)
        self.keep(key, {**body, "metadata": metadata, **({} if status is None else {"status": dict(status)})})


_SERVER_FIELDS = frozenset({"uid", "creationTimestamp", "generation", "resourceVersion", "managedFields"})


def owner_uids(obj: Mapping[str, Any]) -> frozenset[str]:
    """The uids of an object's owners."""
    return frozenset(owner.get("uid", "") for owner in obj["metadata"].get("ownerReferences", ()))
