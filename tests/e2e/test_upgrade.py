"""An upgrade, and the way back from it, replace every part of kuik while pods pull."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.rig.images import runnable
from tests.e2e.rig.install import NAMESPACE, Installed
from tests.e2e.rig.workload import Workloads


@pytest.mark.timeout(900)
def test_an_upgrade_and_its_rollback_break_no_pull(kuik: Installed, pods: Workloads) -> None:
    """`helm upgrade`, then `helm rollback`, replace every part while pods pull: no pull fails, and nothing is lost."""
    upstream = kuik.cluster.upstreams["docker.io"]
    for name in ("stays", "pulled"):
        upstream.push(runnable(f"upgraded-{name}"), f"library/upgraded-{name}", "1")
    pods.run("stays", "upgraded-stays:1", node="node-1")
    pods.run("pulled", "upgraded-pulled:1", node="node-1")
    for name in ("stays", "pulled"):
        pods.ready(name)
        kuik.cached(f"docker.io/library/upgraded-{name}:1")
    pods.delete("pulled")
    before = kuik.revision()
    next_one = {"podAnnotations": {"kuik.rig/is": "next"}}
    _replaced(kuik, pods, "upgraded", lambda: kuik.helm("upgrade", "--wait", "--timeout=240s", **next_one))
    _replaced(kuik, pods, "rolled-back", lambda: kuik.roll_back(before))
    upstream.stop()
    try:
        _pulls(kuik, pods, "after")
    finally:
        upstream.start()
    pods.delete("stays")


def _replaced(kuik: Installed, pods: Workloads, name: str, change: Callable[[], object]) -> None:
    """Pods pull one after another as long as the change lasts, which makes every part anew."""
    cached, running, parts = _cached(kuik), pods.running(), _parts(kuik)
    with ThreadPoolExecutor(1) as beside:
        changing = beside.submit(change)
        pulls = 0
        while not changing.done():
            _pulls(kuik, pods, f"{name}-{pulls}")
            pulls += 1
        changing.result()
    kuik.wait_until_ready()
    assert pulls
    assert not _parts(kuik) & parts, "every part is a new one"
    assert cached.items() <= _cached(kuik).items(), "no image was lost, or copied anew"
    assert running.items() <= pods.running().items(), "nothing was restarted"


def _pulls(kuik: Installed, pods: Workloads, name: str) -> None:
    """A pod on a node without the image starts, and kubelet has not had to try twice."""
    kuik.cluster.nodes[1].remove_images("/upgraded-pulled")
    pods.run(name, "upgraded-pulled:1", node="node-1", pull="Always")
    pods.ready(name)
    events = pods.events(name)
    assert "Successfully pulled image" in events
    assert "Failed" not in events, events
    pods.delete(name)


def _cached(kuik: Installed) -> dict[str, tuple[str, str]]:
    """Each image that is cached: by its object's uid, its name and digest."""
    found = (one for one in kuik.get("ci") if one.get("status", {}).get("phase") == "Cached")
    return {one["metadata"]["uid"]: (one["spec"]["image"], one["status"]["digest"]) for one in found}


def _parts(kuik: Installed) -> set[str]:
    """The pods of kuik's parts that are not about to end, by their uid."""
    listed = kuik.kubectl(
        "get", "pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/managed-by!=kube-image-keeper", "-o", "json"
    )
    return {
        one["metadata"]["uid"]
        for one in json.loads(listed)["items"]
        if "deletionTimestamp" not in one["metadata"] and one["status"]["phase"] == "Running"
    }
