"""Doubt deletes nothing, on every driver; and the process of the loop may end after any single write."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.cluster.rig.workloads import cron_job, deployment, image_cache, namespace, pod
from tests.scenarios.cluster import COPIED, Cluster
from tests.scenarios.hooks import Answer, Fault
from tests.scenarios.looped import RESYNC, Killed, Memory
from tests.scenarios.test_cache import peopled

HUB = "docker.io/library"
DAY = 86400.0
POLICY = {"apiVersion": "kuik.dev/v1alpha1", "kind": "ClusterCachePolicy"}


def without(field: str) -> Fault:
    """Requests lose all kinds of `children` or of `related`, as where a kind is not known any more."""

    def changed(request: dict[str, Any]) -> None:
        request.update({name: {} for name in {"children": ("children", "attachments")}.get(field, (field,))})

    return with_request(changed)


def with_request(change: Callable[[dict[str, Any]], None]) -> Fault:
    """Requests that say something else than what is so."""

    def fault(body: bytes, ask: Callable[[bytes], Answer]) -> Answer:
        request = json.loads(body)
        change(request)
        return ask(json.dumps(request).encode())

    return fault


def another_version(request: dict[str, Any]) -> None:
    """Parents of a version that the hooks do not know."""
    for name in ("parent", "object"):
        if name in request:
            request[name]["apiVersion"] = "kuik.dev/v9"


def one_kind_less(request: dict[str, Any]) -> None:
    """One related kind is missing, as where an API server does not serve it any more."""
    related = request.get("related") or {}
    for group in list(related)[:1]:
        del related[group]


def an_odd_policy(request: dict[str, Any]) -> None:
    """A policy that no API server would have taken: as where a CRD was changed by hand."""
    for group, found in (request.get("related") or {}).items():
        if group.startswith("ClusterCachePolicy."):
            found["odd"] = {**POLICY, "metadata": {"name": "odd"}, "spec": {"rules": [{"action": "Burn"}]}}


def an_odd_pod(request: dict[str, Any]) -> None:
    """A pod without its spec, as an API server sends it to who asks for its metadata alone."""
    for group, found in (request.get("related") or {}).items():
        if group == "Pod.v1":
            found["shop/odd"] = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "odd", "namespace": "shop"}}


FAULTS: dict[str, Fault] = {
    "500": lambda _body, _ask: (500, b'{"error": "as told"}'),
    "404": lambda _body, _ask: (404, b"no such path"),
    "garbage": lambda _body, _ask: (200, b"<html>it works</html>"),
    "empty answer": lambda _body, _ask: (200, b""),
    "half an answer": lambda body, ask: (200, ask(body)[1][:-9]),
    "half a body": lambda body, ask: ask(body[: len(body) // 2]),
    "no body": lambda _body, ask: ask(b""),
    "no children": without("children"),
    "no related": without("related"),
    "one related kind less": with_request(one_kind_less),
    "another version": with_request(another_version),
    "a pod that cannot be read": with_request(an_odd_pod),
    "a policy that is none": with_request(an_odd_policy),
}
NO_ANSWERS: dict[str, Fault] = {
    "null": lambda _body, _ask: (200, b"null"),
    "an answer to nothing": lambda _body, _ask: (200, b"{}"),
}
"""What Metacontroller takes for the wish to have no children at all. The hooks say no such thing, and the loop of ours
does not act on it."""


@pytest.mark.parametrize("fault", [*FAULTS, *NO_ANSWERS])
def test_doubt_deletes_nothing(scene: Cluster, fault: str) -> None:
    doubt(scene, fault)


def doubt(scene: Cluster, fault: str) -> None:
    """Images of every kind, while the hooks fail: none goes, nor does a Job."""
    here, going, running = f"{HUB}/here:1", f"{HUB}/going:1", f"{HUB}/running:1"
    images = {"here": here, "going": going, "running": running}
    scene.apply(image_cache(), namespace("shop"), *(deployment("shop", n, i) for n, i in images.items()))
    scene.settle()
    scene.finish(here, COPIED)
    scene.finish(going, COPIED)
    scene.delete("Deployment", "going", "shop")
    scene.settle()
    before = scene.dump()
    with scene.hooks.failing((FAULTS | NO_ANSWERS)[fault]):
        scene.delete("Deployment", "here", "shop")
        scene.advance(60 * DAY)
        scene.attempt()
        assert scene.dump().keys() == before.keys()
        assert "unusedSince" not in scene.spec(here)
    scene.advance(RESYNC)  # what was answered wrongly is asked again by then
    scene.settle()
    assert scene.image(going) is None, "what was due goes once the hooks answer"
    assert "unusedSince" in scene.spec(here)
    assert len(scene.jobs(running)) == 1


@pytest.mark.parametrize("late", ["cron job", "policy", "pod"])
def test_what_a_late_inventory_does_not_say_is_seen_before_anything_expires(scene: Cluster, late: str) -> None:
    unseen(scene, late)


def unseen(scene: Cluster, late: str) -> None:
    """Something uses an image again while stage 1 fails, so that its inventory goes on to say that nothing does."""
    image = f"{HUB}/again:1"
    scene.apply(image_cache(), namespace("shop"), deployment("shop", "web", image))
    scene.settle()
    scene.finish(image, COPIED)
    scene.delete("Deployment", "web", "shop")
    scene.settle()
    scene.advance(29 * DAY)
    policy = {**POLICY, "kind": "CachePolicy", "metadata": {"name": "rules", "namespace": "shop"}}
    users = {
        "cron job": cron_job("shop", "monthly", image),
        "policy": {**policy, "spec": {"images": [image]}},
        "pod": pod("shop", "lone", image),
    }
    with scene.hooks.failing(lambda body, ask: (500, b"{}") if b'"attachments"' in body else ask(body)):
        scene.apply(users[late])
        scene.advance(5 * DAY)
        scene.attempt()
        assert scene.image(image)
    scene.advance(RESYNC)
    scene.settle()
    assert "unusedSince" not in scene.spec(image)
    assert scene.phase(image) == "Cached"


def life(scene: Cluster) -> dict[str, Any]:
    """Images that come, are copied, fail, come again and go."""
    images = {name: f"{HUB}/{name}:1" for name in ("here", "going", "bad")}
    scene.apply(image_cache(), namespace("shop"), *(deployment("shop", name, image) for name, image in images.items()))
    scene.apply(namespace("crew"), pod("crew", "one", "nginx:1"))
    scene.settle()
    scene.finish(images["here"], COPIED)
    scene.finish(images["going"], COPIED)
    scene.finish(images["bad"], {"reason": "NotFound", "message": "no such image"})
    scene.settle()
    scene.delete("Deployment", "going", "shop")
    scene.delete("Namespace", "crew")
    scene.settle()
    scene.advance(20 * DAY)
    scene.settle()
    scene.finish(images["bad"], COPIED)
    scene.apply(namespace("late"), deployment("late", "web", images["here"], "busybox:1"))
    scene.settle()
    scene.advance(20 * DAY)
    scene.settle()
    return scene.dump()


def keeping(scene: Cluster) -> dict[str, Any]:
    """What an ImageCache keeps besides images: webhook, rights, a rescue Job; it goes alone, and is made again."""
    peopled(scene)
    waiting = pod("shop", "stuck", f"localhost:7439/{HUB}/here:1", imagePullSecrets=[{"name": "two"}])
    scene.apply(waiting)
    state = {"waiting": {"reason": "ErrImagePull", "message": "connection refused"}}
    container = {"name": "c0", "image": "x", "imageID": "", "ready": False, "restartCount": 0, "state": state}
    began = {"phase": "Pending", "startTime": "2026-01-01T00:00:00Z"}
    scene.report(waiting, {**began, "containerStatuses": [container]})
    scene.advance(61)
    scene.settle()
    (job,) = scene.rescues()
    scene.apply(image_cache(mode="Audit", copies={"concurrency": 1}))
    scene.settle()
    scene.delete("ImageCache", "default", orphan=True)
    scene.apply(image_cache())
    scene.settle()
    assert [one["metadata"]["name"] for one in scene.rescues()] == [job["metadata"]["name"]]
    scene.delete("Pod", "stuck", "shop")
    scene.end(job)
    scene.settle()
    assert not scene.rescues()
    return scene.dump()


@pytest.mark.parametrize(("lived", "least"), [(life, 50), (keeping, 20)])
def test_the_loop_may_end_after_any_single_write(lived: Callable[[Cluster], Any], least: int) -> None:
    whole = Memory()
    wanted = lived(whole)
    assert whole.cut.writes >= least
    for last in range(1, whole.cut.writes + 1):
        scene = Memory()
        scene.cut.after = last
        assert lived(scene) == wanted, f"the loop ended after write {last} of {whole.cut.writes}"
        assert scene.cut.writes >= last


def test_a_cut_ends_the_loop_as_nothing_else_does() -> None:
    scene = Memory()
    scene.cut.after = 1
    scene.apply(image_cache())
    with pytest.raises(Killed), scene.cut.counting():
        scene.driver.settle()
