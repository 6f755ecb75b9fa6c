"""Mirror delivery: pods stay as they are, and containerd itself asks the node proxy, as its hosts.toml tells it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.rig.asked import Asked
from tests.e2e.rig.cluster import PASSWORD, PRIVATE, USER
from tests.e2e.rig.images import runnable
from tests.e2e.rig.install import Installed, proxied
from tests.e2e.rig.workload import Workloads
from tests.rig.processes import wait_until

_GATE = "kuik.rig/wait"
_OPEN = json.dumps([{"op": "remove", "path": "/spec/schedulingGates"}])
_SPACE, _SECRET = "mirrored", f"{PRIVATE}/team/mirrored:1"
_PULL: dict[str, Any] = {"imagePullSecrets": [{"name": "pull"}]}


@pytest.fixture(scope="module")
def told(kuik: Installed) -> Iterator[Path]:
    """What containerd is told of all registries while the delivery is Mirror; Webhook again afterwards."""
    kuik.cluster.upstreams["docker.io"].push(runnable("mirror pointed"), "library/mirror-pointed", "1")
    pods = Workloads(kuik.cluster.plane)
    pods.run("mirror-pointed", "mirror-pointed:1", node="node-1", schedulingGates=[{"name": _GATE}])
    before = pods.running()
    kuik.deliver("Mirror")
    assert before.items() <= pods.running().items(), "nothing was restarted"
    yield kuik.cluster.nodes[1].certificates / "_default" / "hosts.toml"
    kuik.deliver("Webhook")
    kuik.kubectl("delete", "pod", "mirror-pointed", "--ignore-not-found")


def test_containerd_asks_the_proxy_itself(kuik: Installed, pods: Workloads, told: Path) -> None:
    """Mirror delivery: pods keep their images' names; cached ones start by tag and by digest while upstream is dead."""
    assert "http://127.0.0.1:7439" in told.read_text()
    upstream, built = kuik.cluster.upstreams["docker.io"], runnable("mirror first")
    for name in ("first", "stranger"):
        upstream.push(runnable(f"mirror {name}"), f"library/mirror-{name}", "1")
    asked = Asked(upstream, "library/mirror-first")
    pods.run("mirror-first", "mirror-first:1", node="node-1")
    pods.ready("mirror-first")
    assert pods.image("mirror-first") == "mirror-first:1"
    kuik.cached("docker.io/library/mirror-first:1")
    assert asked.blobs()
    assert set(asked.blobs().values()) == {1}, "containerd and kuik have shared one request for each blob"
    pods.delete("mirror-first")
    kuik.cluster.nodes[1].remove_images("/mirror-")
    upstream.stop()
    try:
        pods.run("mirror-tag", "mirror-first:1", node="node-1", pull="Always")
        assert pods.ready("mirror-tag")["status"]["containerStatuses"][0]["imageID"].endswith(str(built.digest))
        pods.delete("mirror-tag")
        kuik.cluster.nodes[1].remove_images("/mirror-")
        pods.run("mirror-digest", f"mirror-first@{built.digest}", node="node-1")
        pods.ready("mirror-digest")
        # What is not cached does not come, to be sure that upstream is dead.
        pods.run("mirror-stranger", "mirror-stranger:1", node="node-1")
        pods.wait_in_vain("mirror-stranger")
    finally:
        upstream.start()
    pods.delete("mirror-digest", "mirror-stranger")


def test_a_pod_that_was_pointed_to_the_proxy_before(kuik: Installed, pods: Workloads, told: Path) -> None:
    """A pod that admission had pointed to the proxy before Mirror delivery is still pulled by that name."""
    assert pods.image("mirror-pointed") == proxied("mirror-pointed:1")
    kuik.kubectl("patch", "pod", "mirror-pointed", "--type=json", "-p", _OPEN)
    pods.ready("mirror-pointed")
    assert "Failed" not in pods.events("mirror-pointed"), "at the first attempt"


def test_containerd_falls_back_to_upstream(kuik: Installed, pods: Workloads, told: Path) -> None:
    """Proxies gone, or killed so that hosts.toml stays behind: containerd asks upstream, at the first attempt."""
    upstream = kuik.cluster.upstreams["docker.io"]
    for name in ("gone", "killed"):
        upstream.push(runnable(f"mirror {name}"), f"library/mirror-{name}", "1")
    asked = {name: Asked(upstream, f"library/mirror-{name}") for name in ("gone", "killed")}
    text = told.read_text()
    with kuik.without_proxies():
        wait_until(lambda: not told.exists(), "the last proxy that ends takes out what it told containerd", 30)
        pods.run("mirror-gone", "mirror-gone:1", node="node-1")
        pods.ready("mirror-gone")
        # A proxy that is killed takes nothing out.
        told.parent.mkdir(exist_ok=True)
        told.write_text(text)
        pods.run("mirror-killed", "mirror-killed:1", node="node-1")
        pods.ready("mirror-killed")
        for name, one in asked.items():
            assert one.blobs(), "upstream gave it"
            assert "Failed" not in pods.events(f"mirror-{name}")
    kuik.wait_until_rolled_out()
    wait_until(told.exists, "the proxies tell containerd of themselves again", 30)
    pods.delete("mirror-gone", "mirror-killed")


def test_a_private_image_comes_with_the_pods_own_secret(kuik: Installed, told: Path) -> None:
    """Mirror delivery: a private image is pulled from upstream with the pod's own secret, cached or not."""
    upstream = kuik.cluster.upstreams[PRIVATE]
    upstream.push(runnable("mirror secret"), "team/mirrored", "1")
    kuik.kubectl("create", "namespace", _SPACE)
    account = (f"--docker-server={PRIVATE}", f"--docker-username={USER}", f"--docker-password={PASSWORD}")
    kuik.kubectl("create", "secret", "docker-registry", "pull", "-n", _SPACE, *account)
    team = Workloads(kuik.cluster.plane, _SPACE)
    try:
        team.run("first", _SECRET, node="node-1", **_PULL)
        team.ready("first")
        kuik.cached(_SECRET)
        team.delete("first")
        kuik.cluster.nodes[1].remove_images("/mirrored")
        team.run("stranger", _SECRET, node="node-1")
        team.wait_in_vain("stranger")
        asked = Asked(upstream, "team/mirrored")
        team.run("again", _SECRET, node="node-1", **_PULL)
        team.ready("again")
        assert asked.blobs(), "upstream gave it once more: what kuik keeps of it is not for who shows it no proof"
        assert "Failed" not in team.events("again")
    finally:
        kuik.kubectl("delete", "namespace", _SPACE, "--wait=false")


def test_leaving_mirror_delivery(kuik: Installed, pods: Workloads, told: Path) -> None:
    """Back to Webhook delivery: containerd's folder is as it was before, and new pods are pointed to the proxies."""
    running = pods.running()
    kuik.deliver("Webhook")
    wait_until(lambda: not any(told.parent.parent.rglob("*")), "nothing is left of what containerd was told", 60)
    assert running.items() <= pods.running().items(), "nothing was restarted"
    kuik.cluster.upstreams["docker.io"].push(runnable("mirror after"), "library/mirror-after", "1")
    pods.run("mirror-after", "mirror-after:1", node="node-1")
    pods.ready("mirror-after")
    assert pods.image("mirror-after") == proxied("mirror-after:1")
    pods.delete("mirror-after")
