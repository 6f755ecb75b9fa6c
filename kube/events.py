"""Events (core/v1): what is said about an object, and the thread that writes it without making anybody wait.

https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
"""

import logging
import os
import queue
import socket
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from kube.client import Api, KubernetesError
from kube.paths import KINDS
from kube.types import format_time

NORMAL = "Normal"
WARNING = "Warning"
MAX_MESSAGE = 1024
COMPONENT = "kube-image-keeper"

_CLUSTER_SCOPED = "default"
"""The one namespace in which the API server takes Events about objects that have none."""

_LOOKED_UP = frozenset({"Deployment", "StatefulSet", "DaemonSet", "CronJob", "Job", "ReplicaSet", "Pod"})
_QUEUE = 1000
_TERMINATING = "unable to create new content"  # what follows may be cut off: the Event's name is long
_SAME_ERROR = 60.0  # seconds in which an error of one status is logged once

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Involved:
    """The object that an Event is about; `namespace` is empty for cluster-scoped ones, `uid` where it is not known."""

    api_version: str
    kind: str
    name: str
    namespace: str = ""
    uid: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """One Event to be. Its `name` follows from what happened, so that the same is never said twice."""

    name: str
    type: str
    reason: str
    message: str
    about: Involved

    @property
    def namespace(self) -> str:
        """Where the Event is kept."""
        return self.about.namespace or _CLUSTER_SCOPED


def event(said: Said, now: datetime, instance: str = "") -> dict[str, Any]:
    """The Event as it is posted; `instance` is the pod that says it."""
    about = said.about
    involved = {
        "apiVersion": about.api_version,
        "kind": about.kind,
        "name": about.name,
        "namespace": about.namespace,
        "uid": about.uid,
    }
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": said.name, "namespace": said.namespace},
        "involvedObject": {name: value for name, value in involved.items() if value},
        "type": said.type,
        "reason": said.reason,
        "message": said.message[:MAX_MESSAGE],
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": instance,
        "firstTimestamp": format_time(now),
        "lastTimestamp": format_time(now),
        "count": 1,
    }


@dataclass
class _Writer:
    """The queue of one process, and its thread."""

    pid: int
    waiting: "queue.Queue[Said]"
    full: bool = False
    logged: dict[int, float] = field(default_factory=dict)


class Recorder:
    """Writes Events in the background; what cannot be written is dropped, and nobody waits or fails for it.

    The thread starts with the first Event, in the process that says it: a fork of an idle Recorder is whole.
    """

    def __init__(self, api: Api, size: int = _QUEUE) -> None:
        self._api = api
        self._size = size
        self._lock = threading.Lock()
        self._writer: _Writer | None = None
        self._instance = socket.gethostname()

    def say(self, events: Iterable[Said]) -> None:
        """Have these written soon; returns at once and never raises. Where too many wait already, they are dropped."""
        for said in events:
            writer = self._started()
            try:
                writer.waiting.put_nowait(said)
                writer.full = False
            except queue.Full:
                if not writer.full:
                    _log.warning("Events are dropped: %d wait already, the API server is slow", self._size)
                writer.full = True

    def flush(self, seconds: float) -> int:
        """Wait until what was said is written, for at most that long; how many Events are lost if the process ends."""
        with self._lock:
            writer = self._writer
        if writer is None or writer.pid != os.getpid():
            return 0
        waiting = writer.waiting
        with waiting.all_tasks_done:
            waiting.all_tasks_done.wait_for(lambda: not waiting.unfinished_tasks, seconds)
            return waiting.unfinished_tasks

    def _started(self) -> _Writer:
        with self._lock:
            if self._writer is None or self._writer.pid != os.getpid():
                self._writer = _Writer(os.getpid(), queue.Queue(self._size))
                threading.Thread(target=self._run, args=(self._writer,), daemon=True, name="events").start()
            return self._writer

    def _run(self, writer: _Writer) -> None:
        while True:
            said = writer.waiting.get()
            try:
                self._write(said)
            except KubernetesError as error:
                _report(said, error, writer.logged)
            except Exception:  # noqa: BLE001 - the one thread outlives whatever one Event does to it
                _log.exception("Event %s was not written", said.name)
            finally:
                writer.waiting.task_done()

    def _write(self, said: Said) -> None:
        known = replace(said, about=self._known(said.about))
        self._api.create(KINDS["Event"].collection(said.namespace), event(known, datetime.now(UTC), self._instance))

    def _known(self, about: Involved) -> Involved:
        """With the object's uid, by which `kubectl describe` finds its Events; as it is where that cannot be read."""
        if about.uid or about.kind not in _LOOKED_UP:
            return about
        try:
            found: Mapping[str, Any] = self._api.get(KINDS[about.kind].path(about.name, about.namespace))
        except KubernetesError as error:
            _log.debug("the uid of %s %s/%s: %s", about.kind, about.namespace, about.name, error)
            return about
        meta = found.get("metadata")
        uid = meta.get("uid") if isinstance(meta, Mapping) else None
        return replace(about, uid=uid) if isinstance(uid, str) else about


def _report(said: Said, error: KubernetesError, logged: dict[int, float]) -> None:
    """Log what matters: neither what was said already, nor that a namespace goes or is gone."""
    if error.status in (404, 409) or (error.status == 403 and _TERMINATING in str(error)):
        return
    now = time.monotonic()
    if now - logged.get(error.status, -_SAME_ERROR) >= _SAME_ERROR:
        logged[error.status] = now
        _log.warning("Event %s about %s %s: %s", said.reason, said.about.kind, said.about.name, error)
