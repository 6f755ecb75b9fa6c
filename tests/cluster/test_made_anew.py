"""What the registry has already is kept for a CachedImage that is made anew: no upstream is needed, no copy is made."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from hooks.conditions import holds
from tests.cluster.rig.api import Object
from tests.cluster.rig.everything import Cluster, cluster
from tests.cluster.rig.workloads import image_cache, namespace, pod
from tests.rig.images import multi_platform
from tests.rig.processes import wait_until

pytestmark = pytest.mark.timeout(300)
APP, OTHER = "team/app", "team/other"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    images = {name: multi_platform(name) for name in (APP, OTHER)}
    folder: Path = tmp_path_factory.mktemp("everything")
    with cluster(folder, images, "--look-every", "1") as started:
        started.plane.kubectl("apply", "-f", "-", stdin=json.dumps(image_cache(platforms=["linux/amd64"])))
        yield started


def named(running: Cluster, repository: str) -> str:
    return next(name for name in running.built if f"/{repository}:" in name)


def until(running: Cluster, name: str, *conditions: str, uid: str = "") -> Object:
    """The CachedImage of an image, another one than that `uid`, once the conditions hold."""

    def so() -> bool:
        one = running.images.get(name)
        return one is not None and one["metadata"]["uid"] != uid and all(holds(one, kind) for kind in conditions)

    try:
        wait_until(so, f"{name}: {conditions}", 60)
    except AssertionError as error:
        raise AssertionError(f"{error}: {running.images.get(name)}\n{running.scene.log[-2000:]}") from None
    return running.images[name]


def test_a_cached_image_in_use_that_is_deleted_costs_nothing(running: Cluster) -> None:
    name, apply = named(running, APP), running.plane.kubectl
    apply("create", "-f", "-", stdin=json.dumps(namespace("shop")))
    text = json.dumps(pod("shop", "web", name))
    wait_until(lambda: running.plane.try_kubectl("apply", "-f", "-", stdin=text).returncode == 0, "a pod uses it")
    before = until(running, name, "Cached", "Verified")
    assert running.source.transfers
    running.source.registry.stop()
    transfers = len(running.source.transfers)
    apply("delete", "ci", before["metadata"]["name"])
    after = until(running, name, "Cached", "Verified", uid=before["metadata"]["uid"])
    wait_until(lambda: "copiedAs" in running.images[name]["status"], "its Job ends well")
    after = running.images[name]
    for field in ("digest", "size", "platforms", "copiedAs", "requestedPlatforms"):
        assert after["status"][field] == before["status"][field], field
    assert not after["status"]["failures"]
    assert len(running.source.transfers) == transfers
    running.source.registry.start()


def test_what_was_imported_is_found_by_the_keeper_though_no_copy_may_run(running: Cluster) -> None:
    name = named(running, OTHER)
    made = {"apiVersion": "kuik.dev/v1alpha1", "kind": "CachedImage", "metadata": {"name": "other"}}
    text = json.dumps({**made, "spec": {"image": name, "suspend": True, "platforms": ["linux/amd64"]}})
    running.plane.kubectl("create", "-f", "-", stdin=text)
    # As an import does, to the place where images are that nobody knows to be public.
    place = f"private/{name.replace(':', '__', 1)}"
    running.scene.push("imported", "1", repository=place.rpartition(":")[0])
    until(running, name, "Cached", "Verified")


def test_an_image_that_could_never_be_copied_is_removed_on_demand(running: Cluster) -> None:
    name, plane = named(running, APP).replace(APP, "team/none"), running.plane
    text = json.dumps(pod("shop", "none", name))
    plane.kubectl("apply", "-f", "-", stdin=text)
    wait_until(lambda: running.images.get(name, {}).get("status", {}).get("reason") == "NotFound", "no copy of it", 60)
    plane.kubectl("delete", "pod", "-n", "shop", "none", "--force", "--grace-period=0")
    wait_until(lambda: "unusedSince" in running.images[name]["spec"], "nobody uses it", 30)
    plane.kubectl("annotate", "ci", running.images[name]["metadata"]["name"], "kuik.dev/remove=true")
    wait_until(lambda: name not in running.images, f"it goes: {running.images.get(name)}", 60)
