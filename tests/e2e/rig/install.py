"""kuik in a cluster, as its user installs it, with Metacontroller or our driver in its place."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.cluster.rig import metacontroller
from tests.cluster.rig.api import Object
from tests.cluster.rig.control_plane import DRIVER
from tests.cluster.rig.workloads import pod
from tests.e2e.rig import readme
from tests.e2e.rig.cluster import Cluster
from tests.e2e.rig.images import runnable
from tests.e2e.rig.workload import Workloads
from tests.rig.processes import wait_until

ROOT = Path(__file__).parents[3]
NAMESPACE = "kuik-system"
CONTROLLERS, PROXIES = "controllers", "daemonset/kuik-proxy"
PARTS = (CONTROLLERS, "deployment/kuik-hooks", "statefulset/kuik-shield", "statefulset/kuik-registry", PROXIES)
"""All of kuik; CONTROLLERS are Metacontroller or our driver."""
CHART = "charts/kube-image-keeper"
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
        self.found_running: dict[str, tuple[str, int]] = {}

    def install(self) -> None:
        """Install the chart, and return when all of it is ready and pods are pointed to the proxies."""
        begun = time.monotonic()
        self.found_running = Workloads(self.cluster.plane).running()
        self.cluster.upstreams["docker.io"].push(runnable("asked"), "library/asked", "1")
        self._make_volumes()
        if metacontroller.binary():
            metacontroller.install_crds(self.cluster.plane)
        else:
            self.kubectl("apply", "-f", "-", stdin=json.dumps(_controllers_kinds()))
            self.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", "--all")
        if not self.cluster.plane.runs(self._controllers):
            self.start_controllers()
        for step in readme.parts(readme.page())["install"]:
            assert isinstance(step, readme.Command), step
            self.shell().type(step)
        self.wait_until_ready()
        self.seconds = time.monotonic() - begun

    def shell(self) -> readme.Shell:
        """The shell of a user who follows README here."""
        given = self.cluster.folder / "readme-values.json"
        values = self.values()
        # Its name is the user's to say; the tag is what the rig has built.
        given.write_text(json.dumps(values | {"image": {"tag": values["image"]["tag"]}}))
        return readme.Shell(self.cluster.folder / "readme", self.cluster.plane.kubeconfig(), given)

    def helm(self, verb: str, *words: str, **values: Any) -> str:
        """What helm prints of installing or upgrading kuik; `values` are more of the chart's, at their top."""
        given = self.cluster.folder / "values.json"
        given.write_text(json.dumps(self.values() | values))
        return self.cluster.helm(verb, "kuik", str(ROOT / CHART), "-n", NAMESPACE, f"--values={given}", *words)

    def revision(self) -> str:
        """The number of the release that is installed."""
        return str(json.loads(self.cluster.helm("status", "kuik", "-n", NAMESPACE, "-o", "json"))["version"])

    def roll_back(self, revision: str) -> None:
        """Install again what a revision was, and return when it runs."""
        self.cluster.helm("rollback", "kuik", revision, "-n", NAMESPACE, "--wait", "--timeout=240s")

    def values(self) -> dict[str, Any]:
        """What a user gives here: the image by its name on the nodes, and the authority of the registries."""
        authority = self.cluster.authority.bundle.read_text()
        registries = [{"host": host, "ca": authority} for host in self.cluster.upstreams]
        image = {"repository": "kube-image-keeper", "tag": "dev"}
        # The chart asks for the kind of a running Metacontroller, which here is a process beside the cluster.
        return {"image": image, "imageCache": {"spec": {"registries": registries}}}

    def _make_volumes(self) -> None:
        """Volumes for claims, as a cluster's provisioner would make them."""
        for number in range(3):
            place = self.cluster.folder / "volumes" / str(number)
            place.mkdir(parents=True, exist_ok=True)
            place.chmod(0o777)
            spec = {"capacity": {"storage": "50Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": str(place)}}
            meta = {"name": f"volume-{number}"}
            volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": meta, "spec": spec}
            self.kubectl("apply", "-f", "-", stdin=json.dumps(volume))

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
        self.cluster.plane.end(self._controllers)

    @property
    def _controllers(self) -> str:
        return "metacontroller" if metacontroller.binary() else "driver"

    def deliver(self, delivery: str) -> None:
        """Upgrade to `delivery: Webhook` or `delivery: Mirror`, and return when pods' images come that way."""
        spec = {**self.values()["imageCache"]["spec"], "delivery": delivery}
        told = self.cluster.nodes[1].certificates
        mirror = {"configPath": str(told), "containerdConfig": str(told.parent / "config.toml")}
        self.helm("upgrade", "--wait", "--timeout=120s", imageCache={"spec": spec}, mirror=mirror)
        if delivery == "Webhook":
            self.wait_until_ready()
            return
        self.wait_until_rolled_out()
        wait_until(lambda: not self.points_pods_to_the_proxies(), "new pods stay as they are", 60)

    def wait_until_rolled_out(self) -> None:
        """All pods of kuik run and are ready."""
        for kind in ("deployment", "daemonset", "statefulset"):
            names = self.kubectl("get", kind, "-n", NAMESPACE, "-o", "name").split()
            for name in names:
                self.kubectl("rollout", "status", "-n", NAMESPACE, name, "--timeout=50s")

    def wait_until_ready(self) -> None:
        """All pods of kuik run and are ready, and the webhook is registered."""
        self.wait_until_rolled_out()
        wait_until(self.points_pods_to_the_proxies, "new pods are pointed to the proxies", 60)

    def points_pods_to_the_proxies(self, image: str = "asked:1") -> bool:
        """Whether a pod that is created now would be pulled through the proxy, as a dry run tells."""
        asked = json.dumps(pod("default", "asked", image))
        told = json.loads(self.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", stdin=asked))
        return image_of(told) == proxied(image)

    def cached(self, image: str, seconds: float = 60) -> str:
        """The name of an image's CachedImage once that is Cached."""

        def found() -> list[Object]:
            return [one for one in self.get("ci") if one["spec"]["image"] == image]

        def is_cached() -> bool:
            return any(one.get("status", {}).get("phase") == "Cached" for one in found())

        wait_until(is_cached, f"{image} is cached: {[one.get('status') for one in found()]}", seconds)
        return str(found()[0]["metadata"]["name"])

    def proven(self, image: str) -> None:
        """Return once the status of a private image's CachedImage names a secret that opens it."""

        def is_proven() -> bool:
            found = (one.get("status", {}).get("access", {}) for one in self.get("ci") if one["spec"]["image"] == image)
            return any(access.get("secrets") for access in found)

        wait_until(is_proven, f"it is known who may have {image}", 60)

    def command(self, *words: str) -> str:
        """What the command line says to a user whose kubectl asks this cluster; fails with its own words."""
        done = self.try_command(*words)
        assert done.returncode == 0, f"kuik {' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout

    def try_command(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run the command line, whatever comes of it."""
        environment = os.environ | {"KUBECONFIG": str(self.cluster.plane.kubeconfig())}
        return subprocess.run(
            [sys.executable, "-m", "kuik", *words],
            capture_output=True,
            text=True,
            env=environment,
            cwd=ROOT,
            timeout=120,
            check=False,
        )

    def restart(self, *components: str) -> None:
        """End all pods of these parts of kuik at once, and return when all new ones are ready."""
        label = f"app.kubernetes.io/component in ({','.join(components)})"
        before = self.get("pods", "-n", NAMESPACE, "-l", label)
        self.kubectl("delete", "pods", "-n", NAMESPACE, "-l", label, "--grace-period=1")
        gone = {one["metadata"]["uid"] for one in before}

        def new_ones() -> bool:
            now = self.get("pods", "-n", NAMESPACE, "-l", label)
            return len(now) == len(before) and not gone & {one["metadata"]["uid"] for one in now}

        wait_until(new_ones, f"{components} are made anew", 60)
        self.wait_until_rolled_out()

    def node(self, number: int) -> None:
        """Have node `number`, with kuik's own image on it and a proxy that is ready."""
        if number not in self.cluster.nodes:
            self.cluster.node(number, *self.images)
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
        with ExitStack() as away:
            for part in PARTS:
                away.enter_context(self.without(part))
            yield

    @contextmanager
    def without(self, part: str) -> Iterator[None]:
        """One of PARTS does not run meanwhile."""
        if part == PROXIES:
            with self.without_proxies():
                yield
        elif part != CONTROLLERS:
            with self.scaled_to_nothing(part):
                yield
        else:
            self.stop_controllers()
            try:
                yield
            finally:
                self.start_controllers()

    @contextmanager
    def scaled_to_nothing(self, *names: str) -> Iterator[None]:
        """None of these run meanwhile, each named as `deployment/kuik-hooks`."""
        before = {name: self.one(name)["spec"]["replicas"] for name in names}
        for name in names:
            self.kubectl("scale", "-n", NAMESPACE, name, "--replicas=0")
            self._wait_until_gone(self.one(name)["metadata"]["labels"]["app.kubernetes.io/component"])
        try:
            yield
        finally:
            for name, number in before.items():
                self.kubectl("scale", "-n", NAMESPACE, name, f"--replicas={number}")

    def one(self, name: str) -> Object:
        """One of kuik's objects, named as `deployment/kuik-hooks`."""
        found: Object = json.loads(self.kubectl("get", "-n", NAMESPACE, name, "-o", "json"))
        return found

    def _wait_until_gone(self, component: str) -> None:
        label = f"app.kubernetes.io/component={component}"
        pods = self.kubectl("get", "pods", "-n", NAMESPACE, "-l", label, "-o", "name").split()
        if pods:
            self.kubectl("delete", "-n", NAMESPACE, "--grace-period=1", "--ignore-not-found", "--wait", *pods)
        wait_until(lambda: not self.get("pods", "-n", NAMESPACE, "-l", label), f"no {component} is left", 45)

    def get(self, kind: str, *words: str) -> list[dict[str, Any]]:
        """Objects of a kind."""
        found: list[dict[str, Any]] = json.loads(self.kubectl("get", kind, *words, "-o", "json"))["items"]
        return found


def _controllers_kinds() -> Object:
    """The kinds of Metacontroller's objects where it is away: our driver reads the controllers from their files."""
    names = {"CompositeController": "compositecontrollers", "DecoratorController": "decoratorcontrollers"}
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1alpha1", "served": True, "storage": True, "schema": {"openAPIV3Schema": free}}
    items = [
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {
                "name": f"{plural}.metacontroller.k8s.io",
                "annotations": {"api-approved.kubernetes.io": "unapproved, as Metacontroller's own"},
            },
            "spec": {
                "group": "metacontroller.k8s.io",
                "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
                "scope": "Cluster",
                "versions": [version],
            },
        }
        for kind, plural in names.items()
    ]
    return {"apiVersion": "v1", "kind": "List", "items": items}
