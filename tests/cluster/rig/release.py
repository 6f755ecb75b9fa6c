"""The chart's release as it runs: its Deployment's containers as processes of their own, each with the arguments, the
environment and the account that the chart gives it; its Services lead there. Proxies are only told of."""

import http.server
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from hooks.conditions import holds
from kube.client import Api
from kube.types import Object
from kuik.driver.controllers import load
from kuik.driver.loop import Driver
from kuik.driver.remote import Remote
from tests.cluster.rig import metacontroller
from tests.cluster.rig.control_plane import ControlPlane
from tests.cluster.rig.counted import PARENTS, Counted
from tests.cluster.rig.helm import CHART, NAMESPACE, ROOT, JobRunner, helm, metacontrollers_kinds
from tests.cluster.rig.services import Services
from tests.e2e.rig.driver import Hooks
from tests.rig.processes import free_port, listening, stop, wait_until

_RESYNC = 1  # second
_CLOCK = 120.0
_SERVED = {"kuik-hooks": ("hooks", "hooks"), "kuik-admission": ("admission", "admission")}
"""Services of the chart: the container and its port that each leads to."""


class Facts(http.server.BaseHTTPRequestHandler):
    """A double of the shield's facts, without an upstream to ask: every image is public."""

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        image = parse_qs(asked.query).get("image", [""])[0]
        whole = asked.path == "/facts/image"
        said = {"image": image, "access": {"visibility": "Public"}} if whole else {"access": "public"}
        raw = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_arguments: object) -> None:
        """Keep quiet."""


class Release:
    """`running` installs the chart on a control plane that was started with the egress of `services`."""

    def __init__(self, plane: ControlPlane, services: Services, facts: str, *, real: bool = False) -> None:
        self.plane = plane
        self._real = real
        self._counted: Counted | None = None
        self._services = services
        self._facts = facts
        self._ports: dict[tuple[str, str], int] = {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._remote = Remote(Api.from_kubeconfig(str(plane.kubeconfig())))

    def install(self) -> None:
        """As a user does, and until new pods can be rewritten."""
        metacontrollers_kinds(self.plane)
        hooks = JobRunner(self.plane)
        hooks.start()
        helm(self.plane, "install", "kuik", str(CHART), "-n", NAMESPACE, "--create-namespace")
        hooks.stop()
        self.proxies(3, 3)
        self._start()
        if self._real:
            self._counted = Counted(self._ports["hooks", "hooks"]).start()
            metacontroller.start(self.plane)
            self.plane.kubectl("apply", "-f", "-", stdin=metacontroller.controllers(self._counted.url, _RESYNC))
        wait_until(self._has_certificate, "admission has its certificate", 30)
        self.settle()

    def stop(self) -> None:
        if self._counted:
            self._counted.stop()
        for process in self._processes.values():
            stop(process)

    def get(self, kind: str, name: str, namespace: str = "") -> Object:
        """One object; fails where it is away."""
        inside = ["-n", namespace] if namespace else []
        found: Object = json.loads(self.plane.kubectl("get", kind, name, *inside, "-o", "json"))
        return found

    def proxies(self, desired: int, ready: int) -> None:
        """What the DaemonSet controller would say of the node proxies."""
        counts = {"desiredNumberScheduled": desired, "currentNumberScheduled": desired, "numberMisscheduled": 0}
        self.plane.api.patch(
            self.get("DaemonSet", "kuik-proxy", NAMESPACE), {"status": {**counts, "numberReady": ready}}, "status"
        )

    def settle(self) -> None:
        """Have the stages called, over HTTP as Metacontroller does or by itself, until the API server is at rest."""
        if self._counted:
            self._rest(self._counted)
            return
        driver = Driver(self._remote, load(), Hooks(f"http://{self._at('hooks', 'hooks')}"), lambda: datetime.now(UTC))
        self._remote.look()
        while driver.settle():
            self._remote.look()

    def _rest(self, counted: Counted) -> None:
        """Rest is a round in which every parent was synced, the second time from what the first has left, and nothing
        was written."""
        until = time.monotonic() + _CLOCK
        while time.monotonic() < until:
            before = self._versions()
            self._round(counted)
            if self._versions() == before:
                return
        raise AssertionError(f"no rest in {_CLOCK:.0f} s: {self.plane.log('metacontroller')[-2000:]}")

    def _round(self, counted: Counted) -> None:
        before = counted.calls.copy()

        def late() -> list[tuple[str, str]]:
            return [one for one in self._parents() if counted.calls[one] < before[one] + 2]

        wait_until(lambda: not late(), "every parent is synced", 60)

    def _parents(self) -> list[tuple[str, str]]:
        return [
            (stage, one["metadata"]["name"])
            for stage, kind in PARENTS.items()
            for one in self.plane.api.list(kind.kind)
            if not one["metadata"].get("deletionTimestamp")
        ]

    def _versions(self) -> dict[str, str]:
        kinds = (*dict.fromkeys(kind.kind for kind in PARENTS.values()), "ImageInventory", "Job", "Pod")
        return {
            self.plane.api.path(one): str(one["metadata"]["resourceVersion"])
            for kind in kinds
            for one in self.plane.api.list(kind)
        }

    def copied(self, sizes: Mapping[str, int]) -> None:
        """Let every copy Job end well, as its pod and kubelet would: each image has its size."""
        waiting = {one["metadata"]["uid"] for one in self._copies() if not holds(one, "Complete")}
        for job in self._copies():
            arguments = job["spec"]["template"]["spec"]["containers"][0]["args"]
            size = sizes.get(arguments[arguments.index("--image") + 1], 1)
            result = json.dumps({"digest": "sha256:" + "ab" * 32, "size": size, "platforms": ["linux/amd64"]})
            self.plane.api.patch(job, {"metadata": {"annotations": {"kuik.dev/result": result}}})

        def ended() -> bool:
            for pod in self.plane.api.list("Pod", "app.kubernetes.io/component%3Dcopy"):
                if pod["status"].get("phase") == "Pending":
                    self.plane.api.patch(pod, {"status": {"phase": "Succeeded"}}, "status")
            return not [
                one for one in self._copies() if one["metadata"]["uid"] in waiting and not holds(one, "Complete")
            ]

        wait_until(ended, "the copies have ended", 60)
        self.settle()

    def _copies(self) -> list[Object]:
        return list(self.plane.api.list("Job", "app.kubernetes.io/component%3Dcopy"))

    def called(self, address: str) -> int | None:
        """The loopback port behind a Service's address."""
        host, _, _ = address.rpartition(":")
        for service, container in _SERVED.items():
            if self.get("Service", service, NAMESPACE)["spec"]["clusterIP"] == host:
                return self._ports.get(container)
        return None

    def _at(self, container: str, port: str) -> str:
        return f"127.0.0.1:{self._ports[container, port]}"

    def _start(self) -> None:
        pod = self.get("Deployment", "kuik-hooks", NAMESPACE)["spec"]["template"]["spec"]
        for container in pod["containers"]:
            self._run(container, self._account(pod["serviceAccountName"]))
        self._services.find = self.called
        for name, port in self._ports:
            wait_until(lambda at=self._ports[name, port]: listening(at), f"{name} listens for {port}", 60)  # type: ignore[misc]

    def _run(self, container: Object, account: Path) -> None:
        name, arguments = container["name"], [str(one) for one in container["args"]]
        for port in container["ports"]:
            self._ports[name, port["name"]] = free_port()
            end = f":{port['containerPort']}"
            arguments = [self._at(name, port["name"]) if one.endswith(end) else one for one in arguments]
        command = [sys.executable, "-m", "tests.cluster.rig.in_pod", str(account), *arguments]
        with (self.plane.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                command, cwd=ROOT, env=self._environment(container), stdout=log, stderr=log
            )

    def _account(self, name: str) -> Path:
        folder = self.plane.folder / f"account-{name}"
        folder.mkdir(exist_ok=True)
        token = self.plane.kubectl("create", "token", "-n", NAMESPACE, name, "--duration=2h").strip()
        (folder / "token").write_text(token)
        (folder / "ca.crt").write_bytes(self.plane.api.authority.read_bytes())
        return folder

    def _environment(self, container: Object) -> dict[str, str]:
        """What kubelet would give the container; the shield alone is reached elsewhere."""
        api = self.plane.api
        found = os.environ | {"KUBERNETES_SERVICE_HOST": api.address, "KUBERNETES_SERVICE_PORT": str(api.port)}
        for variable in container.get("env", ()):
            value = self._value(variable)
            if value is not None:
                found[variable["name"]] = value
        return found | {"KUIK_SHIELD_URL": self._facts}

    def _value(self, variable: Object) -> str | None:
        source: Any = variable.get("valueFrom")
        if source is None:
            return str(variable.get("value", ""))
        if "fieldRef" in source:
            assert source["fieldRef"]["fieldPath"] == "metadata.namespace"
            return NAMESPACE
        assert source["secretKeyRef"]["optional"], "the Secret is made by the process itself"
        return None

    def _has_certificate(self) -> bool:
        return self.plane.api.raw("GET", f"api/v1/namespaces/{NAMESPACE}/secrets/kuik-admission-tls")[0] == 200


@contextmanager
def running(folder: Path, *, real: bool = False) -> Iterator[Release]:
    """A control plane with the chart installed, and what the chart runs of hooks and admission; with `real` the real
    Metacontroller calls them, else our driver does."""
    services = Services().start()
    facts = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Facts)
    threading.Thread(target=facts.serve_forever, daemon=True).start()
    plane = ControlPlane(folder, egress=services.configuration)
    release: Release | None = None
    try:
        plane.start()
        release = Release(plane, services, f"http://127.0.0.1:{facts.server_address[1]}", real=real)
        release.install()
        yield release
    finally:
        if release:
            release.stop()
        plane.stop()
        facts.shutdown()
        services.stop()
