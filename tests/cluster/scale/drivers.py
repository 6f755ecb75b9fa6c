"""Who calls the hooks and writes what they answer: the real Metacontroller, or the product's own loop."""

import http.client
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from kube.client import Api, KubernetesError
from kuik.driver.controllers import load
from kuik.driver.loop import Driver
from kuik.driver.remote import Remote
from kuik.driver.troubles import SyncsFailed
from tests.cluster.rig import metacontroller
from tests.cluster.rig.control_plane import DRIVER, ControlPlane
from tests.rig.components import Component

_PAUSE = 0.3


class Caller(ABC):
    """Something that drives the stages from `start` to `stop`, and may be started again."""

    name: str

    @abstractmethod
    def start(self) -> None: ...

    @abstractmethod
    def stop(self) -> None: ...

    @abstractmethod
    def memory(self) -> int | None:
        """Its memory at its highest, in bytes; None where it is no process of its own."""


class Metacontroller(Caller):
    """The real one, with more command line options if need be."""

    name = "Metacontroller"

    def __init__(self, plane: ControlPlane, hooks: Component, options: tuple[str, ...] = ()) -> None:
        self._plane = plane
        self._options = options
        metacontroller.install_crds(plane)
        plane.kubectl("apply", "-f", "-", stdin=metacontroller.controllers(hooks.url, 600))

    def start(self) -> None:
        metacontroller.start(self._plane, *self._options)

    def stop(self) -> None:
        self._plane.end("metacontroller")

    def memory(self) -> int | None:
        status = Path(f"/proc/{self._plane.pid('metacontroller')}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024


class Loop(Caller):
    """The product's loop in a thread, over what it lists of the API server again and again."""

    name = "our own loop"

    def __init__(self, plane: ControlPlane, hooks: Component) -> None:
        self._api = Api.from_kubeconfig(str(plane.kubeconfig("driver", DRIVER)))
        self._hooks = _Http(hooks)
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()

    def start(self) -> None:
        self._stopped.clear()
        self._thread = threading.Thread(target=self._run, name="loop", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread:
            self._thread.join(60)

    def memory(self) -> int | None:
        return None

    def _run(self) -> None:
        shelf = Remote(self._api)
        driver = Driver(shelf, load(), self._hooks, lambda: datetime.now(UTC))
        while not self._stopped.wait(_PAUSE):
            try:
                shelf.look()
                driver.settle()
            except (SyncsFailed, KubernetesError):  # such as a namespace that has gone meanwhile: look again
                time.sleep(_PAUSE)


class _Http:
    """The hooks in their own process, asked over HTTP."""

    def __init__(self, hooks: Component) -> None:
        self._hooks = hooks

    def sync(self, stage: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._ask(f"/sync/{stage}", request)

    def customize(self, stage: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._ask(f"/customize/{stage}", request)

    def _ask(self, path: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self._hooks.port, timeout=60)
        try:
            connection.request("POST", path, orjson.dumps(request), {"Content-Type": "application/json"})
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        assert response.status == 200, f"{path}: {response.status} {body[:200]!r}"
        answer: Mapping[str, Any] = orjson.loads(body)
        return answer
