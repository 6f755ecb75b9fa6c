"""The upstream registry is dead, and a node has lost its images: pods start again from the cache alone."""

from collections.abc import Iterator

import pytest

from tests.e2e.rig.images import runnable
from tests.e2e.rig.install import Installed, proxied
from tests.e2e.rig.workload import Workloads
from tests.rig.images import BuiltImage


@pytest.fixture(scope="module")
def built() -> BuiltImage:
    return runnable("app")


@pytest.fixture
def dead(kuik: Installed, pods: Workloads, built: BuiltImage) -> Iterator[None]:
    """The image was in use once, is cached, and is now neither upstream nor on the node."""
    upstream = kuik.cluster.upstreams["docker.io"]
    upstream.push(built, "library/app", "1")
    name = f"app@{built.digest}"
    pods.run("once", "app:1", node="node-1")
    pods.run("once-by-digest", name, node="node-1")
    for one in ("once", "once-by-digest"):
        pods.ready(one)
    kuik.cached("docker.io/library/app:1")
    kuik.cached(f"docker.io/library/{name}")
    pods.delete("once", "once-by-digest")
    kuik.cluster.nodes[1].remove_images("/app")
    upstream.stop()
    yield
    upstream.start()


def test_pods_start_again_while_upstream_is_dead(
    dead: None, kuik: Installed, pods: Workloads, built: BuiltImage
) -> None:
    """Upstream dead, images gone from the node: pods start by tag, by digest, and with `imagePullPolicy: Always`."""
    pods.run("by-tag", "app:1", node="node-1")
    assert pods.ready("by-tag")["status"]["containerStatuses"][0]["imageID"].endswith(str(built.digest))
    pods.delete("by-tag")
    kuik.cluster.nodes[1].remove_images("/app")
    pods.run("by-digest", f"app@{built.digest}", node="node-1")
    pods.ready("by-digest")
    pods.run("always", "app:1", pull="Always")
    pods.ready("always")
    assert "Successfully pulled image" in pods.events("always")
    # The same pod without kuik, to be sure that upstream is dead.
    pods.run("direct", "app:1", pull="Always", labels={"kuik.dev/cache": "false"})
    pods.wait_in_vain("direct")
    pods.delete("by-digest", "always", "direct")


def test_init_and_ephemeral_containers_start_again(dead: None, kuik: Installed, pods: Workloads) -> None:
    """The same for init containers, and for one that `kubectl debug` adds to a running pod."""
    init = [{"name": "before", "image": "app:1", "command": ["/bin/sh", "-c", "true"]}]
    pods.run("with-init", "app:1", node="node-1", initContainers=init)
    seen = pods.ready("with-init")
    assert seen["spec"]["initContainers"][0]["image"] == proxied("app:1")
    kuik.kubectl("debug", "with-init", "--image=app:1", "--container=look", "--", "/bin/sh", "-c", "sleep 60")
    assert pods.ephemeral_runs("with-init", "look")
    assert pods.pod("with-init")["spec"]["ephemeralContainers"][0]["image"] == proxied("app:1")
    pods.delete("with-init")


def test_a_fresh_node_joins_while_upstream_is_dead(dead: None, kuik: Installed, pods: Workloads) -> None:
    """A fresh node joins while upstream is dead, kuik's own image loaded on it: pods start there from the cache."""
    kuik.node(3)
    pods.run("fresh", "app:1", node="node-3")
    pods.ready("fresh")
    assert pods.image("fresh") == proxied("app:1")
    pods.delete("fresh")
