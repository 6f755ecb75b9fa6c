"""Cold starts while upstream is dead: kuik in every order of its parts, and all machines at once."""

import re
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.e2e.rig.images import runnable
from tests.e2e.rig.install import PARTS, Installed
from tests.e2e.rig.workload import Workloads
from tests.rig.processes import wait_until


@pytest.fixture
def cached(kuik: Installed, pods: Workloads, request: pytest.FixtureRequest) -> Iterator[str]:
    """An image that is cached, and not on node-1; upstream is as it was afterwards."""
    name = f"cold-{re.findall('[a-z]+', request.node.name)[-1]}"
    upstream = kuik.cluster.upstreams["docker.io"]
    upstream.push(runnable(name), f"library/{name}", "1")
    pods.run(name, f"{name}:1", node="node-1")
    pods.ready(name)
    kuik.cached(f"docker.io/library/{name}:1")
    pods.delete(name)
    kuik.cluster.nodes[1].remove_images(f"/{name}")
    try:
        yield name
    finally:
        upstream.start()
    kuik.wait_until_ready()
    pods.delete(name)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("last", PARTS)
def test_kuik_starts_from_cold(kuik: Installed, pods: Workloads, cached: str, last: str) -> None:
    """All of kuik is down, and upstream; it comes back, one part last: a pod that was made before that one starts."""
    running = pods.running()
    with kuik.without(last):
        with ExitStack() as others:
            for part in PARTS:
                if part != last:
                    others.enter_context(kuik.without(part))
            kuik.cluster.upstreams["docker.io"].stop()
        kuik.wait_until_rolled_out()
        pods.run(cached, f"{cached}:1", node="node-1")
    pods.ready(cached, 180)
    assert running.items() <= pods.running().items(), "nothing was restarted"


@pytest.mark.timeout(600)
def test_all_machines_lose_power(kuik: Installed, pods: Workloads, cached: str) -> None:
    """Every node loses power while upstream is dead: what ran comes back, and a pod whose image is cached starts."""
    upstream = kuik.cluster.upstreams["docker.io"]
    upstream.push(runnable("powered"), "library/powered", "1")
    pods.run("powered", "powered:1", node="node-1")
    pods.ready("powered")
    before = pods.running()
    upstream.stop()
    nodes = kuik.cluster.nodes.values()
    for node in nodes:
        node.lose_power()
    for node in nodes:
        node.boot()
    pods.run(cached, f"{cached}:1", node="node-1")
    wait_until(lambda: pods.running()["powered/c0"][0] != before["powered/c0"][0], "its container is another", 120)
    pods.ready("powered", 120)
    pods.ready(cached, 180)
    for node in nodes:
        assert node.ready()
    pods.delete("powered")
