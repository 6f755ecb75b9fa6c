"""helm against the control plane, and what kubelet would do for the Jobs that the chart's hooks are."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.rig import metacontroller
from tests.cluster.rig.api import Object, Refused
from tests.cluster.rig.control_plane import ControlPlane
from tests.rig.built import program

ROOT = Path(__file__).parents[3]
CHART = ROOT / "charts" / "kube-image-keeper"
NAMESPACE = "kuik-system"
_PAUSE = 0.2


def run(plane: ControlPlane, *words: str, stdin: str | None = None) -> "subprocess.CompletedProcess[str]":
    """helm, whatever comes of it, as the administrator."""
    environment = {**os.environ, "HOME": str(plane.folder), "KUBECONFIG": str(plane.kubeconfig())}
    return subprocess.run(
        [program("helm"), *words],
        input=stdin,
        capture_output=True,
        text=True,
        env=environment,
        timeout=110,
        check=False,
    )


def helm(plane: ControlPlane, *words: str, stdin: str | None = None) -> str:
    """What helm prints; fails the test with helm's words when it does not succeed."""
    done = run(plane, *words, stdin=stdin)
    assert done.returncode == 0, f"helm {' '.join(words)}: {done.stderr}"
    return done.stdout


def rendered(*words: str, values: dict[str, Any] | None = None, chart: Path = CHART) -> list[Object]:
    """What `helm template` makes of the chart, without a cluster."""
    command = [program("helm"), "template", "kuik", str(chart), "--namespace", NAMESPACE, "-f", "-", *words]
    done = subprocess.run(
        command, input=json.dumps(values or {}), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]


def metacontrollers_kinds(plane: ControlPlane) -> None:
    """The real Metacontroller's kinds where it is on this machine, else kinds of the same names that take anything."""
    if metacontroller.binary():
        metacontroller.install_crds(plane)
        return
    kinds_that_take_anything(plane, "metacontroller.k8s.io/v1alpha1", "CompositeController", "DecoratorController")


def kinds_that_take_anything(plane: ControlPlane, api_version: str, *kinds: str, scope: str = "Cluster") -> None:
    """Kinds of somebody else, without what they check."""
    group, _, name = api_version.partition("/")
    for kind in kinds:
        plural, anything = f"{kind.lower()}s", {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        version = {"name": name, "served": True, "storage": True, "schema": {"openAPIV3Schema": anything}}
        names = {"kind": kind, "plural": plural, "singular": kind.lower()}
        spec = {"group": group, "scope": scope, "names": names, "versions": [version]}
        definition = {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {
                "name": f"{plural}.{group}",
                "annotations": {"api-approved.kubernetes.io": "unapproved, it stands for the real one"},
            },
            "spec": spec,
        }
        plane.kubectl("apply", "-f", "-", stdin=json.dumps(definition))
        plane.kubectl("wait", "--for=condition=Established", "--timeout=30s", f"crd/{plural}.{group}")


class JobRunner(threading.Thread):
    """Runs the pods of the chart's hooks as kubelet would: their own arguments, with their service account's token."""

    def __init__(self, plane: ControlPlane) -> None:
        super().__init__(name="jobs of hooks", daemon=True)
        self._plane = plane
        self._ended = threading.Event()
        self._done: set[str] = set()
        self.outputs: list[str] = []
        """What each of them said."""

    def run(self) -> None:
        while not self._ended.wait(_PAUSE):
            for pod in self._plane.api.list("Pod", "app.kubernetes.io/component%20in%20(crds,uninstall)"):
                if pod["metadata"]["uid"] not in self._done:
                    self._done.add(pod["metadata"]["uid"])
                    self._start(pod)

    def stop(self) -> None:
        self._ended.set()
        self.join(60)

    def _start(self, pod: Object) -> None:
        spec = pod["spec"]
        account = spec["serviceAccountName"]
        token = self._plane.kubectl("create", "token", "-n", pod["metadata"]["namespace"], account).strip()
        kubeconfig = self._plane.kubeconfig(f"{account}-{len(self._done)}", token)
        command = [sys.executable, "-m", *spec["containers"][0]["args"], "--kubeconfig", str(kubeconfig)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=90, check=False)
        self.outputs.append(done.stdout + done.stderr)
        phase = "Succeeded" if done.returncode == 0 else "Failed"
        try:
            self._plane.api.patch({**pod, "kind": "Pod"}, {"status": {"phase": phase}}, "status")
        except Refused:
            return  # the hook's objects are gone already
