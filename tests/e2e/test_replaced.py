"""kuik is replaced by another release of itself while pods run, and while they pull."""

import json
from collections.abc import Iterator

import pytest

from tests.cluster.rig.workloads import deployment
from tests.e2e.rig.crowd import Crowd
from tests.e2e.rig.images import runnable
from tests.e2e.rig.install import NAMESPACE, Installed, image_of, proxied
from tests.e2e.rig.slow import slow
from tests.e2e.rig.workload import Workloads
from tests.rig.processes import wait_until

_PODS, _SIZE = 50, 8 << 20
_DRAIN = {"drainSeconds": 10}
"""Values of the proxy: so long it goes on with pulls that it has begun."""


@pytest.fixture
def running(kuik: Installed, pods: Workloads) -> Iterator[dict[str, tuple[str, int]]]:
    """Containers of others that run, some by the proxies' names and one by its own: each one's ID and restarts."""
    kuik.cluster.upstreams["docker.io"].push(runnable("steady"), "library/steady", "1")
    pods.create(deployment("default", "steady", "steady:1", replicas=3, terminationGracePeriodSeconds=1))
    pods.run("apart", "steady:1", labels={"kuik.dev/cache": "false"})
    kuik.kubectl("rollout", "status", "deployment/steady", "--timeout=45s")
    pods.ready("apart")
    assert {image_of(one) for one in pods.labelled("app=steady")} == {proxied("steady:1")}
    yield _others(kuik)
    kuik.kubectl("delete", "deployment", "steady")
    pods.delete("apart")


def test_pods_are_labelled_and_annotated(kuik: Installed, running: dict[str, tuple[str, int]]) -> None:
    """All pods are labelled and annotated, with kuik's own labels too: not one container is restarted."""
    for change in ("label", "annotate"):
        for said in ("kuik.rig/some=thing", "kuik.dev/cache=false", "kuik.dev/cache-"):
            kuik.kubectl(change, "pods", "--all", "-n", "default", "--overwrite", said)
    patch = json.dumps({"metadata": {"labels": {"kuik.rig/patched": "yes"}}})
    kuik.kubectl("patch", "deployment", "steady", "--type=merge", "-p", patch)
    assert _others(kuik) == running


@pytest.mark.timeout(1200)
def test_kuik_is_upgraded_while_pods_pull(kuik: Installed, running: dict[str, tuple[str, int]]) -> None:
    """`helm upgrade` while 50 pods pull for longer than what leaves waits for them: no pull fails, nothing restarts."""
    crowd = Crowd(kuik.cluster, "node-1", pods=_PODS, images=_PODS, size=_SIZE, name="replaced")
    crowd.push()
    before = kuik.revision()
    kuik.helm("upgrade", "--wait", "--timeout=240s", proxy=_DRAIN)
    wait_until(lambda: not _leaving(kuik), "the former release is gone", 240)
    with slow(kuik.cluster.upstreams["docker.io"]) as upstream:
        arrival = crowd.come("replaced")
        wait_until(lambda: upstream.asked() >= 10, "pulls are under way", 60)  # containerd takes some at a time
        kuik.helm("upgrade", "--wait", "--timeout=240s", proxy=_DRAIN, podAnnotations={"kuik.rig/release": "new"})
        wait_until(lambda: not _leaving(kuik), "the former release is gone", 240)
        assert arrival.waiting(), "pulls go on"
        upstream.hurry.set()
        arrival.all_run()
    assert not arrival.failed()
    assert {name: now for name, now in _others(kuik).items() if name in running} == running
    crowd.leave("replaced")
    kuik.roll_back(before)
    kuik.wait_until_ready()


def _others(kuik: Installed) -> dict[str, tuple[str, int]]:
    """Of each container that is not kuik's its ID and how often it was restarted."""
    pods = (one for one in kuik.get("pods", "-A") if one["metadata"]["namespace"] != NAMESPACE)
    return {
        f"{one['metadata']['namespace']}/{one['metadata']['name']}/{status['name']}": (
            status.get("containerID", ""),
            status["restartCount"],
        )
        for one in pods
        for status in one["status"].get("containerStatuses", ())
    }


def _leaving(kuik: Installed) -> bool:
    """Whether a pod of kuik is about to end."""
    return any("deletionTimestamp" in one["metadata"] for one in kuik.get("pods", "-n", NAMESPACE))
