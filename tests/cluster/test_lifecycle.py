"""The stages called by the real Metacontroller, from pods that come to images that go."""

from tests.cluster.rig.cluster import COPIED, DIGEST, JOBS, WRITTEN, Cluster
from tests.cluster.rig.workloads import (
    cron_job,
    deployment,
    image_cache,
    namespace,
    pod,
    service_account,
)

HUB = "docker.io/library"


def used_by(cluster: Cluster, image: str) -> list[str]:
    found = cluster.image(image)
    return found["spec"]["usedBy"] if found else []


def test_every_namespace_has_an_inventory(cluster: Cluster) -> None:
    cluster.apply(namespace("empty"))

    def inventories() -> bool:
        names = {ns["metadata"]["name"] for ns in cluster.plane.api.list("Namespace")}
        return {one["metadata"]["name"] for one in cluster.plane.api.list("ImageInventory")} == names

    cluster.until(inventories, "there is an inventory for each namespace")
    inventory = cluster.find("ImageInventory", "empty")
    assert inventory
    assert inventory["spec"] == {"namespace": "empty", "images": []}
    cluster.delete("namespace", "empty")
    cluster.until(inventories, "the inventory goes with its namespace")


def test_what_runs_and_what_will_run_is_cached(cluster: Cluster) -> None:
    cluster.apply(
        namespace("team-a"),
        service_account("team-a", "puller", "registry-login"),
        deployment("team-a", "web", "nginx:1.27", "quay.io/team/sidecar:2", replicas=2, serviceAccountName="puller"),
        cron_job("team-a", "nightly", "busybox"),
        pod("team-a", "lone", f"alpine@{DIGEST}", labels={"kuik.dev/cache": "true"}),
        pod("team-a", "left-alone", "redis:7", labels={"kuik.dev/cache": "false"}),
    )
    wanted = {
        f"{HUB}/nginx:1.27": ["team-a/Deployment/web"],
        "quay.io/team/sidecar:2": ["team-a/Deployment/web"],
        f"{HUB}/busybox:latest": ["team-a/CronJob/nightly"],
        f"{HUB}/alpine@{DIGEST}": ["team-a/Pod/lone"],
    }
    for image, users in wanted.items():
        cluster.until(lambda i=image, u=users: used_by(cluster, i) == u, f"{image} is used by {users}")  # type: ignore[misc]
        cluster.until(lambda i=image: len(cluster.jobs(i)) == 1, f"{image} has its copy Job")  # type: ignore[misc]
        (job,) = cluster.jobs(image)
        assert job["metadata"]["namespace"] == JOBS
        assert cluster.phase(image) == "Copying"
    found = cluster.image(f"{HUB}/nginx:1.27")
    assert found
    assert found["spec"]["pullSecrets"] == [{"namespace": "team-a", "secret": "registry-login"}]
    assert cluster.image(f"{HUB}/redis:7") is None
    inventory = cluster.find("ImageInventory", "team-a")
    assert inventory
    decided = {one["image"]: (one["decision"], one["rule"]) for one in inventory["spec"]["images"]}
    assert decided[f"{HUB}/redis:7"] == ("Ignore", "PodLabel")
    cluster.settle()
    cluster.delete("namespace", "team-a")


def test_a_copy_that_succeeds_and_one_that_fails(cluster: Cluster) -> None:
    good, bad = f"{HUB}/good:1", f"{HUB}/bad:1"
    cluster.apply(namespace("copies"), pod("copies", "both", good, bad))
    cluster.finish(good, COPIED)
    cluster.finish(bad, {"reason": "NotFound", "message": "no such image"})
    cluster.until(lambda: cluster.phase(good) == "Cached", "the good one is cached")
    cluster.until(lambda: cluster.phase(bad) == "Failed", "the bad one has failed")

    def seen() -> bool:
        found = cluster.image(good) or {}
        return bool(found["status"]["observedGeneration"] == found["metadata"]["generation"])

    cluster.until(seen, "the status is about the spec that there is")
    image = cluster.image(good)
    assert image
    status = image["status"]
    assert (status["digest"], status["size"], status["platforms"]) == (DIGEST, 4096, ["linux/amd64"])
    (condition,) = status["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == ("Cached", "True", "Copied")
    failed = cluster.image(bad)
    assert failed
    assert (failed["status"]["reason"], failed["status"]["message"]) == ("NotFound", "no such image")
    assert failed["status"]["attempts"] == 1
    cluster.until(lambda: not cluster.jobs(good), "the Job whose result is held goes")
    assert len(cluster.jobs(bad)) == 1, "a failed one stays until the next attempt"
    cluster.settle()
    summary = cluster.find("ImageCache", "default")
    assert summary
    assert summary["status"]["cached"] >= 1
    assert summary["status"]["failed"] >= 1
    assert summary["status"]["observedGeneration"] == summary["metadata"]["generation"]
    cluster.delete("namespace", "copies")


def test_an_image_that_nobody_uses_any_more_expires(cluster: Cluster) -> None:
    going, coming, retained = f"{HUB}/going:1", f"{HUB}/coming:1", f"{HUB}/retained:1"
    cluster.apply(namespace("leaving"))
    for name, image in (("going", going), ("coming", coming), ("retained", retained)):
        cluster.apply(deployment("leaving", name, image))
    for image in (going, coming, retained):
        cluster.finish(image, COPIED)
        cluster.until(lambda i=image: cluster.phase(i) == "Cached", f"{image} is cached")  # type: ignore[misc]
    kept = cluster.image(retained)
    assert kept
    cluster.plane.api.patch(kept, {"spec": {"retain": True}})
    cluster.delete("deployment", "-n", "leaving", "going", "coming", "retained")
    for image in (going, coming, retained):
        cluster.until(lambda i=image: unused(cluster, i), f"{image} is unused")  # type: ignore[misc]
    cluster.apply(deployment("leaving", "coming", coming))
    cluster.until(lambda: not unused(cluster, coming), "the one that is used again is not unused")
    cluster.settle()
    cluster.apply(image_cache("1s"))
    cluster.until(lambda: cluster.image(going) is None, "what is unused expires")
    cluster.settle()
    cluster.apply(image_cache())
    assert cluster.phase(coming) == "Cached"
    again = cluster.image(retained)
    assert again
    assert (again["spec"]["retain"], again["metadata"]["uid"]) == (True, kept["metadata"]["uid"])
    cluster.delete("namespace", "leaving")
    cluster.delete("ci", again["metadata"]["name"])


def unused(cluster: Cluster, image: str) -> bool:
    found = cluster.image(image)
    return bool(found and "unusedSince" in found["spec"])


def test_a_namespace_that_opts_out_ends_the_use(cluster: Cluster) -> None:
    image = f"{HUB}/opted:1"
    cluster.apply(namespace("opting"), pod("opting", "one", image))
    cluster.until(lambda: used_by(cluster, image), "it is used")
    cluster.plane.kubectl("label", "namespace", "opting", "kuik.dev/cache=false")
    cluster.until(lambda: unused(cluster, image), "it is unused")
    cluster.plane.kubectl("label", "namespace", "opting", "kuik.dev/cache-")
    cluster.until(lambda: not unused(cluster, image), "it is used again")
    cluster.delete("namespace", "opting")


def test_hooks_that_do_not_answer_delete_nothing(cluster: Cluster) -> None:
    image = f"{HUB}/steady:1"
    cluster.apply(namespace("steady"), deployment("steady", "web", image))
    cluster.until(lambda: len(cluster.jobs(image)) == 1, "its copy runs")
    cluster.quiet()
    before = cluster.dump()
    cluster.hooks.kill()
    cluster.delete("deployment", "-n", "steady", "web")
    cluster.plane.kubectl("annotate", "imagecache", "default", "touched=once", "--overwrite")
    cluster.quiet(3)
    assert cluster.dump().keys() == before.keys()
    assert not unused(cluster, image)
    cluster.hooks.start()
    cluster.until(lambda: unused(cluster, image), "it is unused once they answer", 60)
    cluster.settle()
    assert cluster.dump().keys() == before.keys()
    cluster.delete("namespace", "steady")


def test_an_image_cache_made_again_finds_its_images(cluster: Cluster) -> None:
    image = f"{HUB}/adopted:1"
    cluster.apply(namespace("adopting"), deployment("adopting", "web", image))
    cluster.finish(image, COPIED)
    cluster.until(lambda: cluster.phase(image) == "Cached", "it is cached")
    cluster.quiet()
    before = {one["metadata"]["name"]: one["metadata"]["uid"] for one in cluster.plane.api.list("CachedImage")}
    cluster.delete("imagecache", "default", "--cascade=orphan")
    cluster.quiet()
    orphan = cluster.image(image)
    assert orphan
    assert "ownerReferences" not in orphan["metadata"]
    cluster.apply(image_cache())
    cluster.until(lambda: "ownerReferences" in (cluster.image(image) or {})["metadata"], "it is adopted")
    cluster.settle()
    after = {one["metadata"]["name"]: one["metadata"]["uid"] for one in cluster.plane.api.list("CachedImage")}
    assert after == before
    assert cluster.phase(image) == "Cached"
    cluster.delete("namespace", "adopting")


def test_pods_that_come_and_go_under_the_same_workloads_write_nothing(cluster: Cluster) -> None:
    image = f"{HUB}/churned:1"
    cluster.apply(namespace("churn"), deployment("churn", "web", image, replicas=3))
    cluster.finish(image, COPIED)
    cluster.until(lambda: cluster.phase(image) == "Cached", "it is cached")
    cluster.settle()
    writes, calls, before = cluster.plane.api.writes(*WRITTEN), cluster.calls("inventory"), cluster.dump()
    cluster.delete("pods", "-n", "churn", "--all", "--grace-period=0")
    cluster.plane.kubectl("scale", "deployment", "-n", "churn", "web", "--replicas=6")
    cluster.plane.kubectl("rollout", "restart", "deployment", "-n", "churn", "web")
    cluster.quiet(3)
    assert cluster.calls("inventory") >= calls + 6
    assert cluster.plane.api.writes(*WRITTEN) == writes
    assert cluster.dump() == before
    cluster.delete("namespace", "churn")
