"""Kubernetes objects on an API server, as the driver reads and writes them."""

from collections.abc import Iterable, Mapping
from typing import Any

from kube.client import Api, KubernetesError
from kube.paths import KINDS, path_of
from kube.types import Key
from kuik.driver.objects import Shelf

_GONE = 404
_CONFLICT = 409


class Remote(Shelf):
    """What an API server had at the last `look`, with our own writes since.

    A write that comes too late, because somebody else has changed, made or deleted the object, is no error: the
    object is read again, and whoever syncs next sees it as it is. Other refusals raise KubernetesError.
    """

    def __init__(self, api: Api, kinds: Iterable[str] = KINDS) -> None:
        super().__init__()
        self._api = api
        self._watched = tuple(KINDS[kind] for kind in kinds)

    def look(self) -> None:
        """Read all objects of our kinds; raises KubernetesError, and keeps what it had where a list breaks off."""
        for kind in self._watched:
            named = {"apiVersion": kind.api_version, "kind": kind.kind}
            found = {Key.of(obj): obj for obj in ({**named, **item} for item in self._api.items(kind.collection()))}
            for gone in [key for key in self._kinds[kind.api_version, kind.kind] if key not in found]:
                self.drop(gone)
            for key, obj in found.items():
                self._take(key, obj)

    def put(self, obj: Mapping[str, Any]) -> bool:
        """Create the object, or update it where it carries the resourceVersion that it was read with."""
        key = Key.of(obj)
        if "resourceVersion" not in obj["metadata"]:
            return self._write(key, "POST", KINDS[key.kind].collection(key.namespace), obj)
        return self.get(key) != obj and self._write(key, "PUT", path_of(key), obj)

    def put_status(self, key: Key, status: Mapping[str, Any]) -> bool:
        """Replace an object's status; tried once more with what is there where somebody else was faster."""
        for _ in range(2):
            seen = self.get(key)
            if seen is None or seen.get("status", {}) == status:
                return False
            if self._write(key, "PUT", f"{path_of(key)}/status", {**seen, "status": dict(status)}):
                return True
        return False

    def delete(self, key: Key) -> None:
        """Delete the object that we have seen, not one of the same name that came since; what it owns goes after it."""
        seen = self.get(key)
        if seen is not None:
            meta = seen["metadata"]
            same = {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}
            options = {"propagationPolicy": "Background", "preconditions": same}
            self._write(key, "DELETE", path_of(key), options)

    def _write(self, key: Key, method: str, path: str, body: Any) -> bool:
        """Whether the API server took it; our own copy then is what it answered."""
        try:
            answer = self._api.request(method, path, body)
        except KubernetesError as error:
            if error.status not in (_GONE, _CONFLICT):
                raise
            self._look_at(key)
            return False
        if method == "DELETE":
            self._look_at(key)  # it may stay for a while, until its finalizers are done
            return True
        self._take(key, answer)
        return True

    def _look_at(self, key: Key) -> None:
        try:
            self._take(key, self._api.get(path_of(key)))
        except KubernetesError as error:
            if error.status != _GONE:
                raise
            self.drop(key)

    def _take(self, key: Key, obj: Mapping[str, Any]) -> None:
        seen = self.get(key)
        if seen is None or seen["metadata"]["resourceVersion"] != obj["metadata"]["resourceVersion"]:
            self.keep(key, obj)
