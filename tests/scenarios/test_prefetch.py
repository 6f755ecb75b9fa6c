"""Images pulled onto nodes ahead of need, on every driver."""

from typing import Any

import pytest

from kube.types import Object
from tests.cluster.rig.workloads import image_cache, namespace, pod, service_account
from tests.scenarios.cluster import COPIED, Cluster
from tests.scenarios.kubelet import CONTAINERD, CRIO, Kubelets, node

HUB = "docker.io/library"
THREE = [f"{HUB}/{name}:1" for name in ("one", "two", "three")]
NAME = "all.ahead.gpu"


def policy(images: list[str], **more: Any) -> Object:
    """A ClusterCachePolicy with one rule; `more` are fields of the rule."""
    spec = {"prefetch": [{"name": "gpu", "images": images, **more}]}
    return {
        "apiVersion": "kuik.dev/v1alpha1",
        "kind": "ClusterCachePolicy",
        "metadata": {"name": "ahead"},
        "spec": spec,
    }


def by_hand(images: list[str], **more: Any) -> Object:
    """An ImagePrefetch that a person made, in a cluster without an ImageCache."""
    meta = {"name": "mine"}
    spec = {"images": images, **more}
    return {"apiVersion": "kuik.dev/v1alpha1", "kind": "ImagePrefetch", "metadata": meta, "spec": spec}


def status(scene: Cluster, name: str = "mine") -> dict[str, Any]:
    found = scene.find("ImagePrefetch", name)
    assert found, f"ImagePrefetch {name} is not there"
    return dict(found.get("status") or {})


def ready(scene: Cluster, name: str = "mine") -> tuple[str, str]:
    (condition,) = status(scene, name)["conditions"]
    return condition["status"], condition["reason"]


def states(scene: Cluster, name: str = "mine") -> dict[str, tuple[str, int]]:
    return {one["node"]: (one["state"], one["pulled"]) for one in status(scene, name)["states"]}


@pytest.mark.parametrize("runtime", [CONTAINERD, CRIO])
def test_every_image_comes_to_every_node_by_one_pod_at_a_time(scene: Cluster, runtime: str) -> None:
    kubelets = Kubelets(scene, runtime)
    kubelets.join(node("a", pool="gpu"), node("b", pool="gpu"), node("c", pool="other"))
    scene.apply(by_hand(THREE, nodeSelector={"pool": "gpu"}))
    kubelets.work()
    assert sorted(kubelets.pulls) == sorted((name, image) for name in "ab" for image in THREE)
    assert ready(scene) == ("True", "Pulled")
    assert states(scene) == {"a": ("Pulled", 3), "b": ("Pulled", 3)}
    assert not kubelets.prefetching(), "pods leave when they are done"
    assert kubelets.most <= (2 if runtime == CONTAINERD else 4)


def test_a_policys_rule_is_cached_first_pulled_once_for_each_node_and_goes_with_the_rule(scene: Cluster) -> None:
    kubelets = Kubelets(scene)
    kubelets.join(node("a"), node("b"))
    scene.apply(image_cache(), policy(THREE[:2], parallel=1))
    scene.settle()
    assert ready(scene, NAME) == ("False", "Copying")
    for image in THREE[:2]:
        scene.finish(image, COPIED)
    kubelets.work()
    assert ready(scene, NAME) == ("True", "Pulled")
    assert len(kubelets.pulls) == 4
    assert kubelets.most == 1, "one node at a time"
    assert not [one for one in scene.every("CachedImage") if "unusedSince" in one["spec"]]
    scene.advance(86400 + 60)
    kubelets.work()
    assert len(kubelets.pulls) == 8, "every day anew"
    scene.apply(policy(THREE[:2], nodeSelector={"pool": "gpu"}, parallel=1))
    scene.settle()
    assert ready(scene, NAME) == ("True", "NoNodes")
    scene.delete("ClusterCachePolicy", "ahead")
    scene.settle()
    assert scene.find("ImagePrefetch", NAME) is None
    assert all("unusedSince" in one["spec"] for one in scene.every("CachedImage"))


def test_what_cannot_be_pulled_is_told_and_tried_again_and_holds_nothing_up(scene: Cluster) -> None:
    kubelets = Kubelets(scene, broken={THREE[0]: "not found", THREE[1]: "not found"})
    kubelets.join(node("a"), node("b"))
    scene.apply(by_hand(THREE, parallel=1))
    kubelets.work()
    assert states(scene) == {"a": ("Failed", 1), "b": ("Failed", 1)}
    assert ready(scene) == ("False", "Failed")
    assert f"{THREE[0]} (and 1 more): ErrImagePull" in status(scene)["states"][0]["message"]
    assert {image for _, image in kubelets.pulls} == {THREE[2]}
    kubelets.broken.clear()
    scene.advance(61)
    kubelets.work()
    assert ready(scene) == ("True", "Pulled")
    assert status(scene)["retries"] == []


def test_two_names_of_one_digest_are_both_pulled(scene: Cluster) -> None:
    same = dict.fromkeys(THREE, "sha256:" + "5" * 64)
    kubelets = Kubelets(scene, digests=same)
    kubelets.join(node("a"))
    scene.apply(by_hand(THREE))
    kubelets.work()
    assert [image for _, image in kubelets.pulls] == THREE
    assert ready(scene) == ("True", "Pulled")


def test_nodes_that_cannot_pull_are_waited_for_and_hold_nobody_up(scene: Cluster) -> None:
    taint = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}
    kubelets = Kubelets(scene, dead={"dead"})
    dead, away = node("dead"), node("away")
    kubelets.join(dead, away, node("tainted", (taint,)), node("well"))
    kubelets.ready(away, "Unknown")
    scene.apply(by_hand(THREE, parallel=1))
    kubelets.work()
    assert states(scene) == {"dead": ("Pulling", 0), "away": ("Waiting", 0), "well": ("Waiting", 0)}
    kubelets.ready(dead, "Unknown")
    kubelets.work()
    assert states(scene) == {"dead": ("Waiting", 0), "away": ("Waiting", 0), "well": ("Pulled", 3)}
    scene.delete("Node", "dead")
    kubelets.ready(away)
    scene.apply(by_hand(THREE, parallel=1, tolerations=[{"key": "gpu", "operator": "Exists"}]))
    kubelets.work()
    assert states(scene) == dict.fromkeys(("away", "tainted", "well"), ("Pulled", 3))


def test_an_evicted_pod_is_made_again_after_a_while(scene: Cluster) -> None:
    kubelets = Kubelets(scene)
    kubelets.join(node("a"))
    scene.apply(by_hand(THREE))
    scene.settle()
    kubelets.tick()
    (evicted,) = kubelets.prefetching()
    scene.report(evicted, {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."})
    kubelets.work()
    assert states(scene) == {"a": ("Failed", 0)}
    assert "Evicted" in status(scene)["states"][0]["message"]
    scene.advance(61)
    kubelets.work()
    assert states(scene) == {"a": ("Pulled", 3)}


def test_a_namespaces_rule_pulls_there_with_its_secrets_and_by_the_ready_proxies(scene: Cluster) -> None:
    proxy = {"app.kubernetes.io/name": "kube-image-keeper", "app.kubernetes.io/component": "proxy"}
    kubelets = Kubelets(scene)
    kubelets.join(node("a"), node("b"))
    served = pod("kuik-system", "proxy-a", "kuik:1", labels=proxy, nodeName="a")
    private = "registry.example/team/app:1"
    rule = {"prefetch": [{"name": "app", "images": [THREE[0], private]}]}
    meta = {"name": "team", "namespace": "shop"}
    scene.apply(image_cache(), namespace("shop"), service_account("shop", "puller", "login"), served)
    scene.report(served, {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]})
    scene.apply({"apiVersion": "kuik.dev/v1alpha1", "kind": "CachePolicy", "metadata": meta, "spec": rule})
    scene.settle()
    assert scene.spec(private)["pullSecrets"] == [{"namespace": "shop", "secret": "login"}]
    public = scene.image(THREE[0])
    assert public
    scene.hooks.world.open(THREE[0])
    scene.hooks.world.open(private, ("shop", "login"))
    for image in (THREE[0], private):
        scene.finish(image, COPIED)
    scene.settle()
    assert {one["metadata"]["namespace"] for one in kubelets.prefetching()} == {"shop"}
    kubelets.work()
    assert ready(scene, "in-shop.team.app") == ("True", "Pulled")
    by_node = {name: [image for where, image in kubelets.pulls if where == name] for name in "ab"}
    assert by_node["b"] == [THREE[0], private]
    assert by_node["a"][0] == f"localhost:7439/{THREE[0]}"
    assert by_node["a"][1].startswith("localhost:7439/private/")
    assert by_node["a"][1].endswith("/registry.example/team/app:1")
    assert "private/" not in str(status(scene, "in-shop.team.app"))
