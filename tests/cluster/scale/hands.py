"""Many requests to an API server at once, each thread on a connection of its own that stays open."""

import http.client
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from tests.cluster.rig.api import MERGE, Api, Object

T = TypeVar("T")
_THREADS = 6
_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_GONE = 404
_CONFLICT = 409
_STARTING = 30.0
"""Seconds for which an API server may say that a new kind's storage is not ready."""


class Hands:
    """What people and controllers do in a cluster, several at a time. `close` ends it."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._tls = ssl.create_default_context(cafile=str(api.authority))
        self._mine = threading.local()
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="hands")

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def each(self, action: Callable[[T], object], things: Iterable[T]) -> None:
        """Do it to all of them; raises what the first failure raises."""
        for _ in self._pool.map(action, things):
            pass

    def create(self, obj: Object) -> None:
        """Make an object; that it is there already is no error."""
        path = self._api.path(obj).rpartition("/")[0]
        self.ask("POST", path, obj, allowed=(_CONFLICT,))

    def patch(self, obj: Object, change: Object, subresource: str = "") -> None:
        """Merge a change into an object, or into its status; that the object has gone is no error."""
        path = "/".join(filter(None, (self._api.path(obj), subresource)))
        self.ask("PATCH", path, change, MERGE, (_GONE,))

    def delete(self, obj: Object) -> None:
        """Delete an object at once, and by the garbage collector what it owns."""
        options = {"propagationPolicy": "Background", "gracePeriodSeconds": 0}
        self.ask("DELETE", self._api.path(obj), options, allowed=(_GONE,))

    def metadata(self, path: str) -> list[Object]:
        """A list's objects, of which the API server sends the metadata alone."""
        found: list[Object] = self.ask("GET", path, accept=_METADATA)["items"]
        return found

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        kind: str = "application/json",
        allowed: tuple[int, ...] = (),
        accept: str = "application/json",
    ) -> Object:
        """The answer; fails for an error that is not among `allowed`. Asked once more where a connection broke."""
        headers = {"Authorization": f"Bearer {self._api.token}", "Content-Type": kind, "Accept": accept}
        try:
            status, text = self._ask(method, path, body, headers)
        except (OSError, http.client.HTTPException):
            self._mine.connection = None
            status, text = self._ask(method, path, body, headers)
        until = time.monotonic() + _STARTING
        while status == 429 and time.monotonic() < until:  # a kind that is new, whose storage is not ready yet
            time.sleep(0.2)
            status, text = self._ask(method, path, body, headers)
        document: Object = json.loads(text)
        assert status < 400 or status in allowed, f"{method} {path}: {status} {document.get('message', document)}"
        return document

    def _ask(self, method: str, path: str, body: Any, headers: dict[str, str]) -> tuple[int, bytes]:
        connection: http.client.HTTPSConnection | None = getattr(self._mine, "connection", None)
        if connection is None:
            connection = http.client.HTTPSConnection("127.0.0.1", self._api.port, timeout=60, context=self._tls)
            self._mine.connection = connection
        connection.request(method, f"/{path}", json.dumps(body) if body is not None else None, headers)
        response = connection.getresponse()
        return response.status, response.read()
