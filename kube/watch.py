"""The objects of one kind, kept in memory as the API server tells of them: a list, then a watch that follows it.

https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

import json
import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kube.client import Api, KubernetesError
from kube.paths import Kind
from kube.types import Object, part

_log = logging.getLogger(__name__)
_PAGE = "500"
_GONE = 410
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 10.0
_GRACE = 10.0
"""Seconds that the server may be late in ending a watch, before it counts as dead."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects of a kind: those of one namespace, those that fit a label selector, or all."""

    namespace: str = ""
    labels: str = ""


class _Lost(Exception):
    """The watch cannot go on from where it was: everything has to be listed again."""


def trimmed(obj: Object) -> Object:
    """The object without what nobody here reads and what is a third of it: `managedFields`."""
    meta = part(obj, "metadata")
    noise = {"managedFields"} & meta.keys()
    return {**obj, "metadata": {key: meta[key] for key in meta if key not in noise}} if noise else obj


class Watch:
    """The objects of `kind` that are selected, in a thread of its own from `start` to `stop`.

    `keep` is what is kept of an object. `seconds` is how long one watch lasts, and so how late a connection that died
    silently is found out. Readers never wait: what they get was true a moment ago, `quiet_for` says how long.
    """

    def __init__(
        self,
        api: Api,
        kind: Kind,
        selected: Selection = Selection(),
        *,
        keep: Callable[[Object], Object] = trimmed,
        seconds: float = 240.0,
    ) -> None:
        self.kind = kind
        self._api = api
        self._path = kind.collection(selected.namespace)
        self._query = {"labelSelector": selected.labels} if selected.labels else {}
        self._keep = keep
        self._seconds = seconds
        self._objects: dict[str, Object] = {}
        self._version = ""
        self._changes = 0
        self._synced = False
        self._heard = time.monotonic()
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._hang_up: Callable[[], None] | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"watch {kind.plural}")

    def start(self) -> "Watch":
        """Begin; returns at once."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """End, also in the middle of a watch; waits for the thread for a moment."""
        self._stopped.set()
        with self._lock:
            if self._hang_up:
                self._hang_up()
        if self._thread.is_alive():
            self._thread.join(5)

    @property
    def synced(self) -> bool:
        """Whether a whole list was read at least once."""
        return self._synced

    @property
    def changes(self) -> int:
        """A number that grows with every change: what was computed from the objects is good while it stays."""
        return self._changes

    def quiet_for(self) -> float:
        """Seconds since the API server was last heard of, also by a watch that ended in good order."""
        return time.monotonic() - self._heard

    def get(self, key: str) -> Object | None:
        """One object by `namespace/name`, or `name`."""
        return self._objects.get(key)

    def objects(self) -> list[Object]:
        """All objects, in no order."""
        with self._lock:
            return list(self._objects.values())

    def wait(self, seconds: float) -> bool:
        """Wait until it is synced, at most so long; whether it is."""
        until = time.monotonic() + seconds
        while not self._synced and time.monotonic() < until and not self._stopped.wait(0.02):
            pass
        return self._synced

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        listed = False
        while not self._stopped.is_set():
            begun = time.monotonic()
            try:
                if not listed:
                    self._list()
                    listed = True
                self._follow()
            except _Lost as error:
                _log.info("%s: listed again: %s", self.kind.plural, error)
                listed = False
            except KubernetesError as error:
                listed = listed and error.status != _GONE
                if not self._stopped.is_set():
                    _log.warning("watching %s: %s", self.kind.plural, error)
            # Whatever went well for a while may begin again soon; only what fails at once is asked less and less.
            pause = _FIRST_PAUSE if time.monotonic() - begun > _LONGEST_PAUSE else min(pause * 2, _LONGEST_PAUSE)
            self._stopped.wait(pause * random.uniform(0.5, 1.0))  # noqa: S311 - so that not all come back at once

    def _list(self) -> None:
        found: dict[str, Object] = {}
        asked = {"limit": _PAGE, **self._query}
        while True:
            page = self._api.get(self._path, asked)
            self._heard = time.monotonic()
            items, meta = page.get("items"), part(page, "metadata")
            if not isinstance(items, list | None) or not isinstance(meta.get("resourceVersion"), str):
                raise KubernetesError(f"GET {self._path}: the answer is no list")
            for item in items or ():
                self._take(found, item)
            if not meta.get("continue"):
                break
            asked["continue"] = str(meta["continue"])
        with self._lock:
            self._objects = found
            self._version = str(meta["resourceVersion"])
            self._changes += 1
        self._synced = True

    def _follow(self) -> None:
        """One watch, to its end."""
        query = {
            **self._query,
            "watch": "1",
            "allowWatchBookmarks": "1",
            "resourceVersion": self._version,
            "timeoutSeconds": str(int(self._seconds)),
        }
        lines = self._api.lines(self._path, query, self._seconds + _GRACE, self._opened)
        try:
            for line in lines:
                self._heard = time.monotonic()
                if self._stopped.is_set():
                    return
                self._event(line)
        finally:
            with self._lock:
                self._hang_up = None
            lines.close()
        self._heard = time.monotonic()

    def _opened(self, hang_up: Callable[[], None]) -> None:
        self._heard = time.monotonic()
        with self._lock:
            self._hang_up = hang_up
            if self._stopped.is_set():
                hang_up()

    def _event(self, line: bytes) -> None:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise _Lost("a line of the watch is not JSON") from error
        obj = event.get("object") if isinstance(event, dict) else None
        if not isinstance(obj, dict):
            raise _Lost("a line of the watch holds no object")
        kind, version = event.get("type"), part(obj, "metadata").get("resourceVersion")
        if kind == "ERROR":
            raise _Lost(f"{obj.get('code')} {str(obj.get('message', ''))[:200]}")
        if kind not in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK") or not isinstance(version, str):
            raise _Lost(f"an event of type {str(kind)[:20]!r} without a resourceVersion")
        if kind != "BOOKMARK":
            with self._lock:
                self._take(self._objects, obj, gone=kind == "DELETED")
                self._changes += 1
        self._version = version

    def _take(self, objects: dict[str, Object], obj: Any, *, gone: bool = False) -> None:
        meta = part(obj, "metadata") if isinstance(obj, Mapping) else {}
        name, namespace = meta.get("name"), meta.get("namespace")
        if not isinstance(name, str):
            raise _Lost("an object without a name")
        key = f"{namespace}/{name}" if namespace else name
        if gone:
            objects.pop(key, None)
        else:
            # Lists leave out what all of their items have in common.
            objects[key] = self._keep({"apiVersion": self.kind.api_version, "kind": self.kind.kind, **obj})
