"""What a cluster goes on with that lost its volume or its upstream: it is shown, pods get their images, all heals."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hooks.conditions import condition, holds
from registry.own_registry import TOKEN
from registry.proxied import host_to_segment
from registry.reference import Reference
from tests.cluster.rig.api import Object
from tests.cluster.rig.everything import Cluster, cluster
from tests.cluster.rig.kept import QUICK
from tests.cluster.rig.workloads import image_cache, namespace, pod
from tests.dataplane.rig.distribution import READERS_TOKEN
from tests.rig.components import ROOT, Component, proxy
from tests.rig.images import image
from tests.rig.processes import wait_until

pytestmark = pytest.mark.timeout(400)
WIPED, VANISHED = "team/wiped", "team/vanished"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two images in use, cached and verified."""
    folder = tmp_path_factory.mktemp("everything")
    with cluster(folder, {name: image(name) for name in (WIPED, VANISHED)}, "--look-every", "1") as started:
        made = [image_cache(keeper=QUICK, freshness="1s"), namespace("shop")]
        for one in made:
            started.plane.kubectl("apply", "-f", "-", stdin=json.dumps(one))
        for name in started.built:
            use(started, name)
        for name in started.built:
            until(started, name, well, "cached and verified")
        yield started


def use(running: Cluster, name: str) -> None:
    text = json.dumps(pod("shop", Reference.parse(name).repository.replace("/", "-"), name))
    wait_until(lambda: running.plane.try_kubectl("apply", "-f", "-", stdin=text).returncode == 0, "a pod uses it", 60)


def named(running: Cluster, repository: str) -> str:
    return next(name for name in running.built if f"/{repository}:" in name)


def until(running: Cluster, name: str, holding: Callable[[Object], bool], what: str) -> Object:
    def so() -> bool:
        one = running.images.get(name)
        return one is not None and holding(one)

    try:
        wait_until(so, f"{name} is {what}", 120)
    except AssertionError as error:
        raise AssertionError(f"{error}: {running.images.get(name)}\n{running.scene.log[-2000:]}") from None
    return running.images[name]


def well(one: Object) -> bool:
    return holds(one, "Cached") and holds(one, "Verified")


def risks(running: Cluster) -> dict[str, str]:
    """What `kuik report` says of each image at risk."""
    command = [sys.executable, "-m", "kuik", "report", "-o", "json", "--kubeconfig", str(running.plane.kubeconfig())]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout, done.stderr
    return {one["image"]: one["reason"] for one in json.loads(done.stdout)["risks"]}


@pytest.fixture
def front(running: Cluster, tmp_path: Path) -> Iterator[Component]:
    """A node's proxy."""
    options = ("--registry", running.scene.reader.url, "--shield", running.shield.url)
    made = proxy(tmp_path / "proxy", *options, "--plain-http", running.source.relay.host)
    made.environment = {TOKEN: READERS_TOKEN}
    yield made.start()
    made.stop()


def pulled(front: Component, name: str) -> bytes:
    reference = Reference.parse(name)
    return front.get(f"/v2/{host_to_segment(reference.host)}/{reference.repository}/manifests/{reference.tag}").body


def test_a_wiped_volume_without_another_is_shown_while_the_shield_is_away_and_healed_when_it_is_back(
    running: Cluster, front: Component
) -> None:
    name = named(running, WIPED)
    running.shield.kill()
    storage = running.scene.folder / "storage" / "docker"
    storage.rename(storage.with_name("aside"))
    until(running, name, lambda one: not holds(one, "Cached"), "shown to be lost")
    assert name in risks(running)
    until(running, name, lambda one: not holds(one, "Verified"), "shown to be proven no more")
    assert running.images.keys() == running.built.keys(), "no image is given up"
    running.shield.start()
    for one in running.built:
        until(running, one, well, "cached and verified again")
    assert risks(running) == {}
    running.source.relay.rules.clear()
    assert pulled(front, name) == running.built[name].raw


def test_a_tag_that_vanished_upstream_is_shown_and_served_on(running: Cluster, front: Component) -> None:
    name = named(running, VANISHED)
    running.source.registry.delete_manifest(VANISHED, running.built[name])

    def gone(one: Object) -> bool:
        said = condition(one, "UpToDate") or {}
        if said.get("reason") != "Gone":  # it is looked at once in a while, and whenever it changes
            running.plane.kubectl("annotate", "ci", one["metadata"]["name"], f"look={time.time()}", "--overwrite")
        return said.get("reason") == "Gone"

    until(running, name, gone, "shown to be gone")
    wait_until(lambda: risks(running) == {name: "GoneUpstream"}, "the report names it", 60)
    repository = f"{host_to_segment(Reference.parse(name).host)}/{VANISHED}"
    running.scene.push_when_it_takes("swept away", "loose")
    tags = Reference(running.scene.writer.host, "docker.io/library/app")
    reads = running.scene.client(write=False)
    wait_until(
        lambda: "loose" not in reads.tags(Reference(running.scene.reader.host, tags.repository)), "sweeps go on", 60
    )
    assert reads.tags(Reference(running.scene.reader.host, repository)) == ("1",)
    assert pulled(front, name) == running.built[name].raw
    assert well(running.images[name])
