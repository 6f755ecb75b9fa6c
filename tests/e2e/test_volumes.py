"""The registry's volumes come and go, and garbage is collected: what is cached stays, or comes back by itself.

Shields are away where an image is to come from a volume: they hold in their spool what they have fetched.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.rig.asked import Asked
from tests.e2e.rig.images import runnable
from tests.e2e.rig.install import Installed, proxied
from tests.e2e.rig.volume import Volume
from tests.e2e.rig.workload import Workloads
from tests.rig.images import BuiltImage
from tests.rig.processes import wait_until


@contextmanager
def two_registries(kuik: Installed) -> Iterator[None]:
    """A second registry with a volume of its own meanwhile."""
    kuik.helm("upgrade", "--wait", "--timeout=120s", registry={"replicas": 2})
    try:
        kuik.wait_until_ready()
        yield
    finally:
        kuik.helm("upgrade", "--wait", "--timeout=120s", registry={"replicas": 1})
        kuik.wait_until_ready()


def whole(volume: Volume, built: BuiltImage) -> bool:
    """Whether a volume has every byte of an image."""
    return all(volume.has(digest) for digest in (built.digest, *built.blobs))


def starts_from_the_volume(kuik: Installed, pods: Workloads, name: str) -> None:
    """The pod starts again on a node without its image, while neither upstream nor a shield is there."""
    # While one runs, the node has its layers.
    pods.delete(name)
    kuik.cluster.nodes[1].remove_images(f"/{name}")
    with kuik.scaled_to_nothing("statefulset/kuik-shield"):
        upstream = kuik.cluster.upstreams["docker.io"]
        upstream.stop()
        try:
            pods.run(name, f"{name}:1", node="node-1")
            pods.ready(name, 90)
            assert pods.image(name) == proxied(f"{name}:1")
        finally:
            upstream.start()
    kuik.wait_until_ready()
    pods.delete(name)


@pytest.mark.timeout(600)
def test_a_wiped_volume_is_healed_from_its_sibling(kuik: Installed, pods: Workloads) -> None:
    """Registry 1 -> 2 -> 1: the new volume is filled; the old one, wiped, is filled by it; upstream is not asked."""
    upstream, built = kuik.cluster.upstreams["docker.io"], runnable("sibling")
    upstream.push(built, "library/sibling", "1")
    pods.run("sibling", "sibling:1", node="node-1")
    pods.ready("sibling")
    kuik.cached("docker.io/library/sibling:1")
    asked = Asked(upstream, "library/sibling")
    with two_registries(kuik):
        first, second = Volume(kuik, 0), Volume(kuik, 1)
        wait_until(lambda: whole(second, built), "the new volume has the image", 120)
        first.wipe()
        wait_until(lambda: whole(first, built), "the wiped volume has it again", 120)
        assert asked.blobs() == {}
    assert whole(first, built)
    starts_from_the_volume(kuik, pods, "sibling")


@pytest.mark.timeout(600)
def test_a_lone_volume_that_was_wiped_is_healed_from_upstream(kuik: Installed, pods: Workloads) -> None:
    """The only volume is wiped, and the shields have forgotten what they fetched: it is filled again from upstream."""
    upstream, built = kuik.cluster.upstreams["docker.io"], runnable("lone")
    upstream.push(built, "library/lone", "1")
    pods.run("lone", "lone:1", node="node-1")
    pods.ready("lone")
    kuik.cached("docker.io/library/lone:1")
    running = pods.running()
    with kuik.scaled_to_nothing("statefulset/kuik-shield"):
        asked = Asked(upstream, "library/lone")
        volume = Volume(kuik, 0)
        volume.wipe()
        assert not whole(volume, built)
    kuik.wait_until_ready()
    wait_until(lambda: whole(volume, built), "the volume has the image again", 180)
    assert set(asked.blobs().values()) == {1}, "upstream was asked once"
    assert running.items() <= pods.running().items(), "nothing was restarted"
    kuik.cached("docker.io/library/lone:1")
    starts_from_the_volume(kuik, pods, "lone")


@pytest.mark.timeout(600)
def test_garbage_is_collected_during_pulls(kuik: Installed, pods: Workloads) -> None:
    """An image is removed, and pulls go on while its bytes are collected: each pod starts at the first attempt."""
    upstream = kuik.cluster.upstreams["docker.io"]
    gone, stays = runnable("collected"), runnable("bystander")
    for name, built in (("collected", gone), ("bystander", stays)):
        upstream.push(built, f"library/{name}", "1")
        pods.run(name, f"{name}:1", node="node-1")
        pods.ready(name)
        kuik.cached(f"docker.io/library/{name}:1")
    volume = Volume(kuik, 0)
    assert volume.has(gone.digest)
    pods.delete("collected", "bystander")
    words = ("cache", "remove", "collected:1", "--wait")
    wait_until(lambda: kuik.try_command(*words).returncode == 0, "it is removed", 60)
    *_, own = gone.blobs
    until, number = time.monotonic() + 240, 0
    while volume.has(own):
        assert time.monotonic() < until, "its bytes are collected"
        number += 1
        name = f"collecting-{number}"
        upstream.push(runnable(name), f"library/{name}", "1")
        kuik.cluster.nodes[1].remove_images("/bystander")
        for pod, image in ((f"{name}-old", "bystander"), (f"{name}-new", name)):
            pods.run(pod, f"{image}:1", node="node-1")
        for pod in (f"{name}-old", f"{name}-new"):
            pods.ready(pod)
            assert "Failed" not in pods.events(pod), "at the first attempt"
        pods.delete(f"{name}-old")
    for one in range(1, number + 1):
        kuik.cached(f"docker.io/library/collecting-{one}:1", 120)
        pods.delete(f"collecting-{one}-new")
    assert whole(volume, stays)
