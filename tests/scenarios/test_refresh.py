"""Tags that move upstream, and images that people keep, on every driver."""

from hooks.facts import ImageFacts, Known
from kube.types import Object
from tests.cluster.rig.workloads import deployment, image_cache, namespace
from tests.scenarios.cluster import COPIED, DIGEST, Cluster
from tests.scenarios.test_images import DAY, HUB, POLICY, cached, unused

MOVED = "sha256:" + "cd" * 32


def up_to_date(scene: Cluster, image: str) -> tuple[str, str]:
    conditions = (scene.image(image) or {})["status"]["conditions"]
    found = [(one["status"], one["reason"]) for one in conditions if one["type"] == "UpToDate"]
    return found[0] if found else ("", "")


def test_a_tag_that_moved_is_followed_as_its_policy_says(scene: Cluster) -> None:
    images = {mode: f"{HUB}/{mode.lower()}:1" for mode in ("Ignore", "Warn", "Sync")}
    rules = [
        {
            "name": mode.lower(),
            "match": {"images": [image]},
            "action": "Cache",
            "refresh": {"mode": mode, "interval": "10m"},
        }
        for mode, image in images.items()
    ]
    scene.apply(image_cache(), {**POLICY, "spec": {"rules": rules}}, namespace("shop"))
    scene.apply(*(deployment("shop", mode.lower(), image) for mode, image in images.items()))
    facts = scene.hooks.world.images
    facts.update(dict.fromkeys(images.values(), ImageFacts(upstream=Known(DIGEST))))
    cached(scene, *images.values())
    current = {mode: up_to_date(scene, image) for mode, image in images.items()}
    assert current == {"Ignore": ("Unknown", "NotChecked"), "Warn": ("True", "Current"), "Sync": ("True", "Current")}
    facts.update(dict.fromkeys(images.values(), ImageFacts(upstream=Known(MOVED))))
    scene.advance(1201)
    scene.settle()
    assert {mode: len(scene.jobs(image)) for mode, image in images.items()} == {"Ignore": 0, "Warn": 0, "Sync": 1}
    assert up_to_date(scene, images["Warn"]) == ("False", "Moved")
    scene.finish(images["Sync"], {**COPIED, "digest": MOVED})
    scene.settle()
    found: Object = (scene.image(images["Sync"]) or {})["status"]
    assert (found["phase"], found["digest"]) == ("Cached", MOVED)
    assert up_to_date(scene, images["Sync"]) == ("True", "Current")
    assert [one["digest"] for one in found["previousDigests"]] == [DIGEST], "pods that run may still need it"
    for mode in ("Ignore", "Warn"):
        assert (scene.image(images[mode]) or {})["status"]["digest"] == DIGEST
    scene.advance(31 * DAY)
    scene.settle()
    assert "previousDigests" not in (scene.image(images["Sync"]) or {})["status"], "it was kept for the retention"


def test_what_people_retain_stays(scene: Cluster) -> None:
    image = f"{HUB}/retained:1"
    scene.apply(image_cache(), namespace("shop"), deployment("shop", "web", image))
    cached(scene, image)
    found = scene.image(image)
    assert found
    scene.change(found, {"spec": {"retain": True}})
    scene.delete("Deployment", "web", "shop")
    scene.settle()
    assert unused(scene, image)
    scene.advance(60 * DAY)
    scene.settle()
    kept = scene.image(image)
    assert kept
    assert (kept["spec"]["retain"], kept["metadata"]["uid"]) == (True, found["metadata"]["uid"])


def test_pods_that_come_and_go_under_the_same_workloads_write_nothing(scene: Cluster) -> None:
    image = f"{HUB}/churned:1"
    workload = deployment("shop", "web", image, replicas=3)
    scene.apply(image_cache(), namespace("shop"), workload)
    cached(scene, image)
    before = {kind: revisions(scene, kind) for kind in ("ImageInventory", "CachedImage", "Job")}
    scene.apply({**workload, "spec": {**workload["spec"], "replicas": 6}})
    scene.settle()
    for pod in scene.every("Pod"):
        scene.delete("Pod", pod["metadata"]["name"], pod["metadata"]["namespace"])
    scene.settle()
    assert {kind: revisions(scene, kind) for kind in before} == before


def revisions(scene: Cluster, kind: str) -> dict[str, str]:
    return {one["metadata"]["name"]: one["metadata"]["resourceVersion"] for one in scene.every(kind)}
