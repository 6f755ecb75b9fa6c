"""`kuik drill` from the command line, on a real API server, with a real registry behind a real node proxy."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kube.types import format_time
from kuik.drill.__main__ import QUESTIONS
from kuik.keeper.volume import file_of
from registry.manifest import Manifest
from registry.own_registry import TOKEN
from tests.cluster.rig.api import Object
from tests.cluster.rig.control_plane import ControlPlane
from tests.cluster.rig.kept import Scene
from tests.cluster.rig.node import Node, python
from tests.cluster.rig.workloads import daemon_set, namespace, pod
from tests.cluster.scale.kubelet import running
from tests.cluster.test_nodes import LABELS, SYSTEM
from tests.dataplane.rig.distribution import READERS_TOKEN
from tests.rig.components import ROOT, Component, proxy
from tests.rig.processes import wait_until

pytestmark = pytest.mark.timeout(300)
SPACE, NODE = "drilled", "drilled-node"
ACCOUNT = f"api/v1/namespaces/{SPACE}/serviceaccounts/default"
NAMES = ("whole", "losing", "gone")


def reference(name: str) -> str:
    return f"docker.io/library/{name}:1"


@dataclass
class World:
    """What runs: workloads of three cached images and of one that is not, on a node with a ready proxy."""

    plane: ControlPlane
    scene: Scene
    proxy: Component
    built: dict[str, Manifest]

    def drill(self, *options: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "kuik", "drill", "-n", SPACE, "--kubeconfig", str(self.plane.kubeconfig())]
        return subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)

    def jobs(self) -> str:
        return self.plane.kubectl("get", "jobs", "-n", SYSTEM, "-o", "name")


def told(done: "subprocess.CompletedProcess[str]") -> dict[str, tuple[bool, bool, str]]:
    """By image whether it survives, whether it was read, and why not."""
    assert done.stdout, done.stderr
    said = json.loads(done.stdout)
    return {one["image"].split("/")[-1]: (one["survives"], one["read"], one.get("reason", "")) for one in said}


WELL = {"whole:1": (True, True, ""), "losing:1": (True, True, ""), "gone:1": (True, True, "")}


def in_process(host: str) -> Callable[[Object], Sequence[str]]:
    """What the Job's container does, before the proxy of these tests and not at the port that nodes have."""
    program = f"import os, sys; from kuik.drill.__main__ import run; sys.exit(run(os.environ, {host!r}))"
    return lambda _pod: python("-c", program)


@pytest.fixture
def world(scene: Scene, tmp_path: Path) -> Iterator[World]:
    plane = scene.plane
    front = proxy(tmp_path / "proxy", "--registry", scene.reader.url)
    front.environment = {TOKEN: READERS_TOKEN}
    front.start()
    built = {name: scene.push(name, "1", repository=f"docker.io/library/{name}") for name in NAMES}
    cached = {"type": "Cached", "status": "True", "reason": "Copied", "message": ""}
    proven = {"type": "Verified", "status": "True", "reason": "Hashed", "message": ""}
    now = format_time(datetime.now(UTC))
    conditions = [{**one, "lastTransitionTime": now} for one in (cached, proven)]
    for name, manifest in built.items():
        access = {"visibility": "Public", "checkedAt": now}
        scene.keep(name, reference(name), manifest, size=300_000, conditions=conditions, access=access)
    with Node(plane, NODE, tmp_path, "drill", in_process(front.host)):
        for made in objects():
            plane.kubectl("apply", "-f", "-", stdin=json.dumps(made))
            if made["kind"] == "Namespace":
                wait_until(lambda: plane.api.raw("GET", ACCOUNT)[0] == 200, "its account is there", 60)
            if made["kind"] == "Pod":
                plane.api.patch(made, {"status": running(made)}, "status")
        yield World(plane, scene, front, built)
        for made in objects():
            if made["kind"] != "Namespace":  # its pods first: no kubelet confirms that they have ended
                plane.kubectl("delete", made["kind"], made["metadata"]["name"], *gone(made))
        plane.kubectl("delete", "namespace", SPACE)
    front.stop()


def objects() -> list[Object]:
    """The node proxy's, and the workloads."""
    ours = [
        daemon_set(SYSTEM, "kuik-proxy", "kuik:1", labels=LABELS),
        pod(SYSTEM, "kuik-proxy-1", "kuik:1", labels=LABELS, nodeName=NODE),
    ]
    for one in (ours[0]["spec"]["template"], ours[1]):
        one["spec"]["containers"][0]["name"] = "proxy"
    users = [pod(SPACE, name, reference(name), nodeName=NODE) for name in NAMES]
    return [*ours, namespace(SPACE), *users]


def gone(made: Object) -> list[str]:
    """Options with which an object goes at once, if it is there."""
    at_once = ["--force", "--grace-period=0"] if made["kind"] == "Pod" else []
    return ["-n", made["metadata"]["namespace"], "--ignore-not-found", *at_once]


def lose(world: World, name: str) -> None:
    """The layer of an image is gone from the volume."""
    file_of(world.scene.folder / "storage", world.built[name].layers[0].digest).unlink()


THROUGH: dict[str, Callable[[World], list[str]]] = {
    "by a Job": lambda _world: [],
    "through a proxy at hand": lambda world: ["--through", world.proxy.url],
}


@pytest.mark.parametrize("way", THROUGH)
def test_who_would_survive_is_told_and_who_would_not_with_the_reason(world: World, way: str) -> None:
    options = [*THROUGH[way](world), "--all", "-o", "json"]
    done = world.drill(*options)
    assert (done.returncode, told(done)) == (0, WELL), done.stderr
    assert "3 of 3 workloads would survive" in done.stderr
    assert "3 of 3 cached images in use were read whole" in done.stderr
    lose(world, "losing")
    world.plane.kubectl("delete", "cachedimage", "gone")
    done = world.drill(*options)
    changed = {"losing:1": (False, False, "Incomplete"), "gone:1": (False, False, "NotCached")}
    assert (done.returncode, told(done)) == (1, WELL | changed), done.stderr
    assert "1 of 3 workloads would survive" in done.stderr
    assert world.jobs() == "", "the Job goes with the drill"


def test_a_few_are_read_by_lot_and_the_same_again_by_the_seed(world: World) -> None:
    done = world.drill("--through", world.proxy.url, "--count", "1", "--seed", "7", "-o", "json")
    read = [image for image, (_, was_read, _) in told(done).items() if was_read]
    assert len(read) == 1
    again = world.drill("--through", world.proxy.url, "--count", "1", "--seed", "7", "-o", "json")
    assert told(again) == told(done)
    assert "--seed 7" in done.stderr


def test_nothing_is_read_on_demand_and_the_table_names_who_would_not(world: World) -> None:
    lose(world, "losing")
    done = world.drill("--no-read")
    assert (done.returncode, done.stdout) == (0, "")
    assert "0 of 3 cached images" in done.stderr
    done = world.drill("--all", "--through", world.proxy.url)
    assert done.returncode == 1
    (row,) = [line.split() for line in done.stdout.splitlines() if "losing" in line]
    assert row[:5] == [f"{SPACE}/Pod/losing", "c0", reference("losing"), "no", "Incomplete"]


def test_what_cannot_be_read_through_is_an_error_in_words(world: World) -> None:
    for url, code, words in (
        ("127.0.0.1:7439", 2, "is not http://HOST:PORT"),
        (world.scene.reader.url, 1, "images could not be read"),
        ("http://127.0.0.1:1", 1, "cannot be reached"),
    ):
        done = world.drill("--all", "--through", url)
        assert (done.returncode, words in done.stderr) == (code, True), done.stderr
        assert "Traceback" not in done.stderr


def test_a_node_without_a_ready_proxy_is_no_place_to_read_and_none_to_start(world: World) -> None:
    done = world.drill("--all", "--node", "elsewhere")
    assert (done.returncode, "no node proxy is ready on 'elsewhere'" in done.stderr) == (1, True)
    assert NODE in done.stderr
    world.plane.kubectl("delete", "pod", "-n", SYSTEM, "kuik-proxy-1", "--force", "--grace-period=0")
    done = world.drill("--all", "-o", "json")
    assert (done.returncode, {why for _, _, why in told(done).values()}) == (1, {"NoProxy"})
    assert QUESTIONS not in done.stderr
