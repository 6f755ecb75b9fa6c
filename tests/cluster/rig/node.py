"""A node without containers, as far as a Job of kuik's needs one: its pods run as processes here, and their logs are
asked for by the API server, as kubelet's are."""

import contextlib
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

from tests.cluster.rig.api import Object, Refused
from tests.cluster.rig.control_plane import ControlPlane
from tests.cluster.scale.kubelet import running
from tests.rig.authority import Authority

Command = Callable[[Object], Sequence[str]]
"""What a pod runs."""
_PAUSE = 0.3


class Node(threading.Thread):
    """The node `name` of a control plane: it runs the pods of Jobs with the label `component`, from `start` on."""

    def __init__(self, plane: ControlPlane, name: str, folder: Path, component: str, command: Command) -> None:
        super().__init__(name=name, daemon=True)
        self.node = name
        self._plane = plane
        self._folder = folder
        self._component = component
        self._command = command
        self._ended = threading.Event()
        self._logs: dict[str, tuple[Path, subprocess.Popen[bytes]]] = {}
        self._server = _Logs(self)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*Authority(folder).loopback())
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self._plane.api.request(
            "POST", "api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": self.node}}
        )
        self._beat()
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self.join(30)
        self._server.shutdown()
        self._server.server_close()
        for _, process in self._logs.values():
            process.kill()
            process.wait(10)
        self._plane.api.request("DELETE", f"api/v1/nodes/{self.node}")

    def run(self) -> None:
        beaten = time.monotonic()
        while not self._ended.wait(_PAUSE):
            if time.monotonic() - beaten > 1:
                beaten = time.monotonic()
                self._beat()
            for pod in self._plane.api.list("Pod", f"app.kubernetes.io/component%3D{self._component}"):
                with contextlib.suppress(Refused):  # its Job was deleted meanwhile
                    self._serve(pod)

    def log_of(self, pod: str) -> tuple[Path, "subprocess.Popen[bytes]"] | None:
        """Where a pod's output is, and the process that writes it."""
        return self._logs.get(pod)

    def _serve(self, pod: Object) -> None:
        meta = pod["metadata"]
        name = meta["name"]
        if name not in self._logs:
            target = {"apiVersion": "v1", "kind": "Node", "name": self.node}
            binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
            path = f"api/v1/namespaces/{meta['namespace']}/pods/{name}/binding"
            self._plane.api.request("POST", path, binding)
            log = self._folder / f"{name}.log"
            with log.open("wb") as told:
                process = subprocess.Popen(self._command(pod), stdout=told, stderr=told, env=_environment(pod))
            self._logs[name] = log, process
            self._plane.api.patch(pod, {"status": running(pod)}, "status")
        elif (status := self._logs[name][1].poll()) is not None and pod["status"].get("phase") == "Running":
            self._plane.api.patch(pod, {"status": {"phase": "Failed" if status else "Succeeded"}}, "status")

    def _beat(self) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": ""}
        said = {
            "conditions": [{**ready, "lastHeartbeatTime": now, "lastTransitionTime": now}],
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._server.server_address[1]}},
            "nodeInfo": {**dict.fromkeys(_INFO, "x"), "operatingSystem": "linux", "architecture": "amd64"},
        }
        path = f"api/v1/nodes/{self.node}/status"
        self._plane.api.request("PATCH", path, {"status": said}, "application/merge-patch+json")


_INFO = (
    "machineID",
    "systemUUID",
    "bootID",
    "kernelVersion",
    "osImage",
    "containerRuntimeVersion",
    "kubeletVersion",
    "kubeProxyVersion",
)


def _environment(pod: Object) -> dict[str, str]:
    """What a pod's container gets, and nothing of this process's own."""
    (container,) = pod["spec"]["containers"]
    return {"PATH": "/usr/bin:/bin", **{one["name"]: one["value"] for one in container["env"] if "value" in one}}


def python(*arguments: str) -> Sequence[str]:
    """A command of this environment."""
    return (sys.executable, *arguments)


class _Logs(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, node: Node) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.node = node


class _Handler(BaseHTTPRequestHandler):
    """`GET /containerLogs/NAMESPACE/POD/CONTAINER?follow=true`."""

    server: _Logs

    def do_GET(self) -> None:
        found = self.server.node.log_of(self.path.split("/")[3])
        if found is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.end_headers()
        log, process = found
        with log.open("rb") as told, contextlib.suppress(OSError):
            ended = False
            while not ended:
                ended = process.poll() is not None
                while piece := told.read(65536):
                    self.wfile.write(piece)
                    self.wfile.flush()
                time.sleep(0.05)

    def log_message(self, *_said: object) -> None:
        """Nothing."""
