"""From pods that come to images that go, on every driver."""

from tests.cluster.rig.workloads import cron_job, deployment, image_cache, namespace, pod, service_account
from tests.scenarios.cluster import COPIED, DIGEST, Cluster

HUB = "docker.io/library"
DAY = 86400.0
POLICY = {"apiVersion": "kuik.dev/v1alpha1", "kind": "ClusterCachePolicy", "metadata": {"name": "rules"}}


def unused(scene: Cluster, image: str) -> bool:
    return "unusedSince" in scene.spec(image)


def cached(scene: Cluster, *images: str) -> None:
    """Let the copies of these images succeed."""
    scene.settle()
    for image in images:
        scene.finish(image, COPIED)
    scene.settle()
    assert [scene.phase(image) for image in images] == ["Cached"] * len(images)


def test_every_namespace_has_its_inventory(scene: Cluster) -> None:
    scene.apply(image_cache(), namespace("empty"), namespace("shop"), deployment("shop", "web", "nginx:1"))
    scene.settle()
    names = {one["metadata"]["name"] for one in scene.every("ImageInventory")}
    assert names == {one["metadata"]["name"] for one in scene.every("Namespace")}
    empty = scene.find("ImageInventory", "empty")
    assert empty
    assert empty["spec"] == {"namespace": "empty", "images": []}
    scene.delete("Namespace", "empty")
    scene.settle()
    assert scene.find("ImageInventory", "empty") is None


def test_what_workloads_run_is_cached(scene: Cluster) -> None:
    scene.apply(
        image_cache(),
        namespace("shop"),
        service_account("shop", "puller", "login"),
        deployment("shop", "web", "nginx:1", serviceAccountName="puller"),
        cron_job("shop", "nightly", "busybox"),
        pod("shop", "lone", f"alpine@{DIGEST}"),
    )
    scene.settle()
    users = {one["spec"]["image"]: one["spec"]["usedBy"] for one in scene.every("CachedImage")}
    assert users == {
        f"{HUB}/nginx:1": ["shop/Deployment/web"],
        f"{HUB}/busybox:latest": ["shop/CronJob/nightly"],
        f"{HUB}/alpine@{DIGEST}": ["shop/Pod/lone"],
    }
    assert scene.spec(f"{HUB}/nginx:1")["pullSecrets"] == [{"namespace": "shop", "secret": "login"}]
    for image in users:
        (job,) = scene.jobs(image)
        assert job["metadata"]["namespace"] == "kuik-system"


def test_a_copy_that_succeeds(scene: Cluster) -> None:
    image = f"{HUB}/good:1"
    scene.apply(image_cache(), namespace("shop"), deployment("shop", "web", image))
    cached(scene, image)
    found = scene.image(image)
    assert found
    assert (found["status"]["digest"], found["status"]["size"]) == (DIGEST, 4096)
    assert found["status"]["observedGeneration"] == found["metadata"]["generation"]
    assert not scene.jobs(image), "the Job whose result is held goes"


def test_a_copy_that_fails_is_tried_again_after_its_backoff(scene: Cluster) -> None:
    image = f"{HUB}/bad:1"
    scene.apply(image_cache(), namespace("shop"), deployment("shop", "web", image))
    scene.settle()
    (first,) = scene.jobs(image)
    scene.finish(image, {"reason": "NotFound", "message": "no such image"})
    scene.settle()
    found = scene.image(image)
    assert found
    assert (found["status"]["phase"], found["status"]["reason"]) == ("Failed", "NotFound")
    assert [job["metadata"]["name"] for job in scene.jobs(image)] == [first["metadata"]["name"]], "not at once"
    scene.advance(3600)
    scene.settle()
    (second,) = scene.jobs(image)
    assert second["metadata"]["name"] != first["metadata"]["name"]
    cached(scene, image)


def test_copies_take_turns(scene: Cluster) -> None:
    images = [f"{HUB}/turn{number}:1" for number in range(5)]
    scene.apply(image_cache(copies={"concurrency": 2}), namespace("shop"), pod("shop", "all", *images))
    left = set(images)
    while left:
        scene.settle()
        copying = [image for image in images if scene.jobs(image)]
        assert len(copying) == min(2, len(left)), "as many as may, and no more"
        scene.finish(copying[0], COPIED)
        left.discard(copying[0])
    scene.settle()
    assert {scene.phase(image) for image in images} == {"Cached"}
    assert not [image for image in images if scene.jobs(image)]


def test_what_nobody_uses_expires_after_its_retention(scene: Cluster) -> None:
    going, coming = f"{HUB}/going:1", f"{HUB}/coming:1"
    workloads = [deployment("shop", name, image) for name, image in (("going", going), ("coming", coming))]
    scene.apply(image_cache("30d"), namespace("shop"), *workloads)
    cached(scene, going, coming)
    uid = (scene.image(coming) or {})["metadata"]["uid"]
    scene.delete("Deployment", "going", "shop")
    scene.delete("Deployment", "coming", "shop")
    scene.settle()
    assert unused(scene, going)
    assert unused(scene, coming)
    scene.advance(29 * DAY)
    scene.settle()
    assert scene.phase(going) == "Cached", "not before its time"
    scene.apply(workloads[1])
    scene.settle()
    assert not unused(scene, coming)
    scene.advance(2 * DAY)
    scene.settle()
    assert scene.image(going) is None
    assert (scene.image(coming) or {})["metadata"]["uid"] == uid
    assert scene.phase(coming) == "Cached"


def test_pods_and_namespaces_that_opt_out_are_left_alone(scene: Cluster) -> None:
    scene.apply(
        image_cache(),
        namespace("shop"),
        namespace("out", **{"kuik.dev/cache": "false"}),
        pod("shop", "ignored", "redis:7", labels={"kuik.dev/cache": "false"}),
        pod("shop", "cached", "nginx:1"),
        pod("out", "ignored", "mysql:8"),
        pod("out", "asks", "httpd:2", labels={"kuik.dev/cache": "true"}),
    )
    scene.settle()
    images = {one["spec"]["image"] for one in scene.every("CachedImage")}
    assert images == {f"{HUB}/nginx:1", f"{HUB}/httpd:2"}
    inventory = scene.find("ImageInventory", "shop")
    assert inventory
    decided = {one["image"]: (one["decision"], one["rule"]) for one in inventory["spec"]["images"]}
    assert decided[f"{HUB}/redis:7"] == ("Ignore", "PodLabel")


def test_a_policy_decides_what_is_cached(scene: Cluster) -> None:
    rules = [{"name": "none", "match": {"images": ["docker.io/library/redis:*"]}, "action": "Ignore"}]
    scene.apply(
        image_cache(),
        {**POLICY, "spec": {"rules": rules}},
        namespace("shop"),
        deployment("shop", "cache", "redis:7"),
        deployment("shop", "web", "nginx:1"),
    )
    scene.settle()
    assert {one["spec"]["image"] for one in scene.every("CachedImage")} == {f"{HUB}/nginx:1"}
    scene.delete("ClusterCachePolicy", "rules")
    scene.settle()
    assert scene.spec(f"{HUB}/redis:7")["usedBy"] == ["shop/Deployment/cache"]


def test_a_policy_decides_for_how_long(scene: Cluster) -> None:
    match = {"images": ["docker.io/library/nginx:*"]}
    rules = [{"name": "short", "match": match, "action": "Cache", "retention": "1h"}]
    scene.apply(
        image_cache(),
        {**POLICY, "spec": {"rules": rules}},
        namespace("shop"),
        deployment("shop", "web", "nginx:1"),
        deployment("shop", "app", "httpd:2"),
    )
    web, app = f"{HUB}/nginx:1", f"{HUB}/httpd:2"
    cached(scene, web, app)
    assert {one["spec"]["image"] for one in scene.every("CachedImage")} == {web, app}
    assert scene.spec(web)["retention"] == "1h"
    scene.delete("Deployment", "web", "shop")
    scene.delete("Deployment", "app", "shop")
    scene.settle()
    scene.advance(2 * 3600)
    scene.settle()
    assert scene.image(web) is None
    assert scene.phase(app) == "Cached", "the ImageCache's own retention is longer"


def test_an_image_cache_made_again_finds_its_images(scene: Cluster) -> None:
    image = f"{HUB}/kept:1"
    scene.apply(image_cache(), namespace("shop"), deployment("shop", "web", image))
    cached(scene, image)
    before = scene.image(image)
    assert before
    scene.delete("ImageCache", "default", orphan=True)
    orphan = scene.image(image)
    assert orphan
    assert not orphan["metadata"].get("ownerReferences")
    scene.apply(image_cache())
    scene.settle()
    after = scene.image(image)
    assert after
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["metadata"]["ownerReferences"]
    assert scene.phase(image) == "Cached"
    assert not scene.jobs(image), "nothing is copied again"


def test_a_namespace_with_more_images_than_one_object_holds_is_known_whole(scene: Cluster) -> None:
    """What Metacontroller notes of an object that it applied is an annotation, of which 256 KiB are taken."""
    seldom = dict.fromkeys(range(0, 2000, 500), "seldom")
    names = [f"reg.example.com/{'many-' * 20}x/app-{seldom.get(number, 'often')}-{number}:1" for number in range(2000)]
    often = {"name": "often", "action": "Ignore", "enforced": True, "match": {"images": ["*/app-often-*"]}}
    policy = {**POLICY, "kind": "CachePolicy"}
    scene.apply(image_cache(), namespace("shop"), {**POLICY, "spec": {"rules": [often]}})
    for name, images in (("one", names[:1000]), ("two", names[1000:])):
        scene.apply({**policy, "metadata": {"name": name, "namespace": "shop"}, "spec": {"images": images}})
    scene.settle()
    found = [one for one in scene.every("ImageInventory") if one["spec"]["namespace"] == "shop"]
    assert len(found) > 1
    assert {entry["image"] for one in found for entry in one["spec"]["images"]} == set(names)
    cached = {one["spec"]["image"] for one in scene.every("CachedImage")}
    assert cached == {names[number] for number in seldom}
    assert scene.condition("Ready") == ("True", "Copying")
    for name in ("one", "two"):
        scene.delete("CachePolicy", name, "shop")
    scene.settle()
    found = [one for one in scene.every("ImageInventory") if one["spec"]["namespace"] == "shop"]
    assert [(one["metadata"]["name"], one["spec"]["images"]) for one in found] == [("shop", [])]
