"""kuik in a cluster, as its user installs it, with Metacontroller or our driver in its place."""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.cluster.rig import metacontroller
from tests.cluster.rig.api import Object
from tests.cluster.rig.control_plane import DRIVER
from tests.cluster.rig.workloads import pod
from tests.e2e.rig.cluster import Cluster
from tests.e2e.rig.images import runnable
from tests.rig.processes import wait_until

ROOT = Path(__file__).parents[3]
NAMESPACE = "kuik-system"
HOOKS = f"http://kuik-hooks.{NAMESPACE}.svc.cluster.local:8080"


def proxied(name: str) -> str:
    """The name at the proxy of an image of Docker Hub's library."""
    return f"localhost:7439/docker.io/library/{name}"


def image_of(pod: Object) -> str:
    """The image of a pod's first container."""
    return str(pod["spec"]["containers"][0]["image"])


class Installed:
    """kuik on a cluster that runs."""

    def __init__(self, cluster: Cluster, images: Sequence[Path]) -> None:
        self.cluster = cluster
        self.images = images
        self.kubectl = cluster.plane.kubectl
        self.seconds = 0.0

    def install(self) -> None:
        """Apply everything, and return when all of it is ready and pods are pointed to the proxies."""
        begun = time.monotonic()
        self.cluster.upstreams["docker.io"].push(runnable("asked"), "library/asked", "1")
        if metacontroller.binary():
            metacontroller.install_crds(self.cluster.plane)
            self.kubectl("apply", "-k", str(ROOT / "metacontroller"))
        else:
            for name in ("namespace.yaml", "crds/", "rbac.yaml", "hooks.yaml"):
                self.kubectl("apply", "-f", str(ROOT / "metacontroller" / name))
        self.kubectl("apply", "-f", str(Path(__file__).parent / "by_hand.yaml"))
        self.kubectl("apply", "-f", "-", stdin=json.dumps(self.image_cache()))
        self.start_controllers()
        self.wait_until_ready()
        self.seconds = time.monotonic() - begun

    def start_controllers(self) -> None:
        """Run Metacontroller, or our driver, where services are reached."""
        plane, inside = self.cluster.plane, self.cluster.nodes[1].place.inside()
        if metacontroller.binary():
            metacontroller.start(plane, inside=inside)
        else:
            command = [sys.executable, "-m", "tests.e2e.rig.driver", str(plane.kubeconfig("driver", DRIVER)), HOOKS]
            plane.run("driver", [*inside, "env", f"PYTHONPATH={ROOT}", *command])

    def stop_controllers(self) -> None:
        """End what `start_controllers` started."""
        self.cluster.plane.end("metacontroller" if metacontroller.binary() else "driver")

    def wait_until_ready(self) -> None:
        """All pods of kuik run and are ready, and the webhook is registered."""
        for kind in ("deployment", "daemonset", "statefulset"):
            names = self.kubectl("get", kind, "-n", NAMESPACE, "-o", "name").split()
            for name in names:
                self.kubectl("rollout", "status", "-n", NAMESPACE, name, "--timeout=50s")
        wait_until(self.points_pods_to_the_proxies, "new pods are pointed to the proxies", 60)

    def points_pods_to_the_proxies(self) -> bool:
        """Whether a pod that is created now would be pulled through the proxy, as a dry run tells."""
        asked = json.dumps(pod("default", "asked", "asked:1"))
        told = json.loads(self.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", stdin=asked))
        return image_of(told) == proxied("asked:1")

    def cached(self, image: str, seconds: float = 60) -> str:
        """The name of an image's CachedImage once that is Cached."""

        def found() -> list[Object]:
            return [one for one in self.get("ci") if one["spec"]["image"] == image]

        def is_cached() -> bool:
            return any(one.get("status", {}).get("phase") == "Cached" for one in found())

        wait_until(is_cached, f"{image} is cached: {[one.get('status') for one in found()]}", seconds)
        return str(found()[0]["metadata"]["name"])

    def second_node(self) -> None:
        """Have node-2, with a proxy that is ready."""
        if 2 not in self.cluster.nodes:
            self.cluster.node(2, *self.images)
        self.wait_until_ready()

    @contextmanager
    def without_proxies(self) -> Iterator[None]:
        """No node proxy runs meanwhile."""
        away = '{"spec":{"template":{"spec":{"nodeSelector":{"kuik.rig/nowhere":"true"}}}}}'
        back = '{"spec":{"template":{"spec":{"nodeSelector":{"kuik.rig/nowhere":null}}}}}'
        self.kubectl("patch", "daemonset", "kuik-proxy", "-n", NAMESPACE, "-p", away)
        self._wait_until_gone("proxy")
        try:
            yield
        finally:
            self.kubectl("patch", "daemonset", "kuik-proxy", "-n", NAMESPACE, "-p", back)

    @contextmanager
    def gone(self) -> Iterator[None]:
        """Nothing of kuik runs meanwhile, Metacontroller neither."""
        self.stop_controllers()
        replicas = {
            f"{kind}/{one['metadata']['name']}": one["spec"]["replicas"]
            for kind in ("deployment", "statefulset")
            for one in self.get(kind, "-n", NAMESPACE)
        }
        with self.without_proxies():
            for name in replicas:
                self.kubectl("scale", "-n", NAMESPACE, name, "--replicas=0")
            for component in ("hooks", "shield", "registry"):
                self._wait_until_gone(component)
            try:
                yield
            finally:
                for name, number in replicas.items():
                    self.kubectl("scale", "-n", NAMESPACE, name, f"--replicas={number}")
                self.start_controllers()

    def _wait_until_gone(self, component: str) -> None:
        label = f"app.kubernetes.io/component={component}"
        pods = self.kubectl("get", "pods", "-n", NAMESPACE, "-l", label, "-o", "name").split()
        if pods:
            self.kubectl("delete", "-n", NAMESPACE, "--grace-period=1", "--ignore-not-found", "--wait", *pods)
        wait_until(lambda: not self.get("pods", "-n", NAMESPACE, "-l", label), f"no {component} is left", 45)

    def image_cache(self) -> dict[str, Any]:
        """The one object that a user writes: the registries here are known to the sandbox's authority alone."""
        authority = self.cluster.authority.bundle.read_text()
        registries = [{"host": host, "ca": authority} for host in self.cluster.upstreams]
        spec = {"retention": "30d", "registries": registries}
        return {"apiVersion": "kuik.dev/v1alpha1", "kind": "ImageCache", "metadata": {"name": "default"}, "spec": spec}

    def get(self, kind: str, *words: str) -> list[dict[str, Any]]:
        """Objects of a kind."""
        found: list[dict[str, Any]] = json.loads(self.kubectl("get", kind, *words, "-o", "json"))["items"]
        return found
