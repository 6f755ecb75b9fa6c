"""Whatever of kuik is dead or told to keep out, a pod starts as it would without it."""

import pytest

from tests.e2e.rig.asked import Asked
from tests.e2e.rig.images import runnable
from tests.e2e.rig.install import Installed, proxied
from tests.e2e.rig.workload import Workloads

_OUT = {"kuik.dev/cache": "false"}


def test_a_pod_is_excluded_by_its_label(kuik: Installed, pods: Workloads) -> None:
    """A pod labelled `kuik.dev/cache: "false"` keeps its image, pulls directly, and nothing is cached for it."""
    upstream = kuik.cluster.upstreams["docker.io"]
    upstream.push(runnable("excluded"), "library/excluded", "1")
    asked = Asked(upstream, "library/excluded")
    pods.run("excluded", "excluded:1", labels=_OUT)
    pods.ready("excluded")
    assert pods.image("excluded") == "excluded:1"
    assert asked.blobs()
    # One that is not excluded is cached meanwhile, so the other had its time.
    upstream.push(runnable("included"), "library/included", "1")
    pods.run("included", "included:1")
    kuik.cached("docker.io/library/included:1")
    assert not any("excluded" in one["spec"]["image"] for one in kuik.get("ci"))
    pods.delete("excluded", "included")


@pytest.mark.parametrize(
    "dead", ["deployment/kuik-hooks", "statefulset/kuik-shield", "statefulset/kuik-registry", "daemonset/kuik-proxy"]
)
def test_one_part_of_kuik_is_dead(kuik: Installed, pods: Workloads, dead: str) -> None:
    """`{dead}` is dead: a pod with a new image starts, and so does one with an image that is cached."""
    upstream, name = kuik.cluster.upstreams["docker.io"], dead.rpartition("-")[2]
    for kind in ("old", "new"):
        upstream.push(runnable(f"{kind}-{name}"), f"library/{kind}-{name}", "1")
    pods.run("before", f"old-{name}:1", node="node-1")
    pods.ready("before")
    kuik.cached(f"docker.io/library/old-{name}:1")
    pods.delete("before")
    kuik.cluster.nodes[1].remove_images(f"/old-{name}")
    with kuik.without_proxies() if name == "proxy" else kuik.scaled_to_nothing(dead):
        pods.run("old", f"old-{name}:1", node="node-1")
        pods.run("new", f"new-{name}:1", node="node-1")
        pods.ready("old")
        pods.ready("new")
        assert "Failed" not in pods.events("old") + pods.events("new"), "at the first attempt"
    kuik.wait_until_ready()
    pods.delete("old", "new")


def test_everything_of_kuik_is_dead(kuik: Installed, pods: Workloads) -> None:
    """Everything of kuik is gone at once: new pods start as without it, running ones go on, and it comes back alone."""
    kuik.cluster.upstreams["docker.io"].push(runnable("survivor"), "library/survivor", "1")
    pods.run("before", "survivor:1")
    pods.ready("before")
    kuik.cached("docker.io/library/survivor:1")
    running = pods.running()
    with kuik.gone():
        kuik.cluster.upstreams["docker.io"].push(runnable("orphan"), "library/orphan", "1")
        pods.run("orphan", "orphan:1")
        pods.ready("orphan")
        assert pods.image("orphan") == "orphan:1"
    assert running.items() <= pods.running().items(), "nothing was restarted"
    kuik.wait_until_ready()
    kuik.cached("docker.io/library/orphan:1")
    pods.delete("before", "orphan")


def test_a_pod_that_is_stuck_on_a_dead_proxy_is_rescued(kuik: Installed, pods: Workloads) -> None:
    """A pod was pointed to a proxy that died before kubelet pulled: it gets its own image back, and starts."""
    kuik.cluster.upstreams["docker.io"].push(runnable("stuck"), "library/stuck", "1")
    pods.run("stuck", "stuck:1", schedulingGates=[{"name": "kuik.rig/wait"}])
    assert pods.image("stuck") == proxied("stuck:1")
    with kuik.without_proxies():
        kuik.kubectl("patch", "pod", "stuck", "--type=json", "-p", '[{"op":"remove","path":"/spec/schedulingGates"}]')
        pods.wait_in_vain("stuck")
        pods.ready("stuck", 120)
        assert pods.image("stuck") == "stuck:1"
    kuik.wait_until_ready()
    pods.delete("stuck")


def test_a_pod_that_admission_never_saw_is_rescued(kuik: Installed, pods: Workloads) -> None:
    """A pod was made while the webhook was away, upstream dead, its image cached: it is pointed to the proxy."""
    upstream = kuik.cluster.upstreams["docker.io"]
    upstream.push(runnable("unseen"), "library/unseen", "1")
    pods.run("seen", "unseen:1", node="node-1")
    pods.ready("seen")
    kuik.cached("docker.io/library/unseen:1")
    pods.delete("seen")
    kuik.cluster.nodes[1].remove_images("/unseen")
    try:
        with kuik.scaled_to_nothing("deployment/kuik-hooks"):
            upstream.stop()
            pods.run("unseen", "unseen:1", node="node-1")
            pods.wait_in_vain("unseen")
            assert pods.image("unseen") == "unseen:1"
        pods.ready("unseen", 120)
        assert pods.image("unseen") == proxied("unseen:1")
    finally:
        upstream.start()
    kuik.wait_until_ready()
    pods.delete("unseen")
