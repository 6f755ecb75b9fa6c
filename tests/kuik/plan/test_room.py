"""`kuik policy plan`: quotas, images ahead of need, and workloads that opt out."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from kube.schema import defaulted
from tests.kuik.plan.world import (
    cached,
    deployment,
    folder,
    image_cache,
    inventory,
    kuik,
    namespace,
    pod,
    policy,
)

REDIS, NGINX, DEBIAN = "docker.io/library/redis:7", "docker.io/library/nginx:1", "docker.io/library/debian:12"
GPU = {"name": "gpu", "images": ["redis:7", "debian:12"], "nodeSelector": {"accelerator": "nvidia"}, "parallel": 3}
TAINT = {"key": "dedicated", "effect": "NoSchedule"}


def node(name: str, *taints: dict[str, Any], **labels: str) -> dict[str, Any]:
    spec = {"taints": list(taints)}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "spec": spec}


def limits(**most: str) -> dict[str, Any]:
    quotas = [{"namespaces": [name], "bytes": size} for name, size in most.items()]
    return {**policy("limits"), "spec": {"quotas": quotas}}


def replica(name: str, *images: str, app: str = "web") -> dict[str, Any]:
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"{app}-5d", "uid": "u", "controller": True}
    labels = {"pod-template-hash": "5d", "app": app}
    return pod("shop", name, *images, labels=labels, ownerReferences=[owner])


@pytest.fixture
def seen(tmp_path: Path) -> Path:
    return inventory(
        tmp_path,
        *(namespace(name) for name in ("shop", "other", "kuik-system")),
        deployment("shop", "web", "nginx:1", "redis:7"),
        pod("other", "own", "redis:7"),
        pod("shop", "new", "reg.example/new:1"),
        cached(NGINX, 5000),
        cached(REDIS, 2000),
        node("a", accelerator="nvidia"),
        node("b", TAINT, accelerator="nvidia"),
        node("c"),
    )


def plan(seen: Path, to: Path, *words: object) -> dict[str, Any]:
    done = kuik("policy", "plan", "--inventory", seen, "--to", to, "-o", "json", *words)
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def told(seen: Path, to: Path, form: str = "text") -> str:
    return kuik("policy", "plan", "--inventory", seen, "--to", to, "-o", form).output


def test_a_quota_says_who_has_how_much_and_what_is_not_copied(seen: Path, tmp_path: Path) -> None:
    to = folder(tmp_path / "to", a=limits(shop="7k", other="1Gi"))
    found = plan(seen, to)
    assert found["quotas"] == [
        {"namespace": "other", "before": None, "after": {"bytes": 1 << 30, "used": 2000, "over": False}},
        {"namespace": "shop", "before": None, "after": {"bytes": 7000, "used": 7000, "over": True}},
    ]
    (held,) = found["images"]
    assert (held["image"], held["action"]) == ("reg.example/new:1", "hold")
    text = told(seen, to)
    assert "+ shop: has 6.8 KiB of 6.8 KiB: new images that it alone uses are not copied" in text
    assert "! reg.example/new:1  is not copied, as shop has 6.8 KiB of its 6.8 KiB" in text
    assert "1 not to be copied" in text
    assert "| `other` | has 2.0 KiB of 1.0 GiB |" in told(seen, to, "markdown")


def test_a_larger_quota_lets_held_images_come(seen: Path, tmp_path: Path) -> None:
    small = folder(tmp_path / "small", a=limits(shop="7k"))
    large = folder(tmp_path / "large", a=limits(shop="70k"))
    found = plan(seen, large, "--from", small)
    assert [(one["image"], one["action"]) for one in found["images"]] == [("reg.example/new:1", "cache")]
    (quota,) = found["quotas"]
    assert (quota["before"]["over"], quota["after"]["over"]) == (True, False)
    none = plan(seen, folder(tmp_path / "none"), "--from", small)
    assert none["quotas"] == [{**quota, "after": None}]


def test_what_a_cluster_holds_back_is_let_go_as_its_stage_would(tmp_path: Path) -> None:
    """What the objects of the cluster say already, and nobody says any more, does not stay."""
    held = {**cached("reg.example/new:1", hold={"reason": "OverQuota", "message": "not copied"}, referrers=True)}
    held["status"] = {}
    seen = inventory(tmp_path, namespace("shop"), pod("shop", "new", "reg.example/new:1"), held, limits(shop="1k"))
    found = plan(seen, folder(tmp_path / "to", a=limits(shop="1Gi")))
    assert [(one["action"], one["after"]["referrers"]) for one in found["images"]] == []
    assert found["quotas"][0]["after"]["bytes"] == 1 << 30


def test_unused_images_leave_for_a_quota(tmp_path: Path) -> None:
    old: dict[str, Any] = {"unusedSince": "2026-01-01T00:00:00Z", "usedBefore": ["shop"]}
    old |= {"retention": "500w", "retentionRule": "CachePolicy/a/b"}
    seen = inventory(
        tmp_path, namespace("shop"), pod("shop", "a", "nginx:1"), cached(NGINX, 5000), cached(REDIS, 2000, **old)
    )
    found = plan(seen, folder(tmp_path / "to", a=limits(shop="6k")))
    assert [(one["image"], one["action"]) for one in found["images"]] == [(REDIS, "leave")]
    assert found["bytes"]["leave"] == 2000
    assert "leaves before its retention is over 2.0 kB, as OverQuota" in told(seen, tmp_path / "to")


def test_images_ahead_of_need_are_cached_and_said_with_their_nodes(seen: Path, tmp_path: Path) -> None:
    ahead = {**policy("ahead"), "spec": {"prefetch": [GPU]}}
    to = folder(tmp_path / "to", a=ahead)
    found = plan(seen, to)
    (one,) = found["prefetches"]
    assert (one["prefetch"], one["before"]) == ("ClusterCachePolicy/ahead/gpu", None)
    assert one["after"] == {
        "namespace": "kuik-system",
        "images": [REDIS, DEBIAN],
        "nodeSelector": {"accelerator": "nvidia"},
        "tolerations": [],
        "every": "24h",
        "parallel": 3,
        "nodes": 1,
        "bytesPerNode": None,
    }
    assert [(one["image"], one["action"]) for one in found["images"]] == [(DEBIAN, "cache")]
    text = told(seen, to)
    assert f"+ ClusterCachePolicy/ahead/gpu: {REDIS}, {DEBIAN} onto accelerator=nvidia (1 now), 3 at once" in text
    assert "Rules ahead of need: 1 differ." in text
    assert "| `ClusterCachePolicy/ahead/gpu` |" in told(seen, to, "markdown")
    more = {**policy("ahead"), "spec": {"prefetch": [{**GPU, "images": ["redis:7"], "tolerations": [TAINT]}]}}
    (one,) = plan(seen, folder(tmp_path / "more", a=more), "--from", to)["prefetches"]
    assert (one["before"]["nodes"], one["after"]["nodes"], one["after"]["bytesPerNode"]) == (1, 2, 2000)
    gone = plan(seen, folder(tmp_path / "none"), "--from", to)
    assert gone["prefetches"][0]["after"] is None


def test_nodes_that_nobody_could_see_are_not_counted(tmp_path: Path) -> None:
    seen = inventory(tmp_path, namespace("kuik-system"))
    to = folder(tmp_path / "to", a={**policy("ahead"), "spec": {"prefetch": [GPU]}})
    assert plan(seen, to)["prefetches"][0]["after"]["nodes"] is None
    assert " now)" not in told(seen, to)


def test_a_workload_that_opts_out_by_its_label_is_planned_with_its_pods(tmp_path: Path) -> None:
    """As `exclude-a-workload` brings about; what somebody else has put into its pods stays with them."""
    seen = inventory(
        tmp_path,
        namespace("shop"),
        deployment("shop", "web", "nginx:1"),
        replica("web-5d-1", "nginx:1"),
        deployment("shop", "sided", "debian:12"),
        replica("sided-5d-1", "debian:12", "proxy:2", app="sided"),
        cached(NGINX, 5000),
    )
    web, sided = deployment("shop", "web", "nginx:1"), deployment("shop", "sided", "debian:12")
    for one in (web, sided):
        one["spec"]["template"]["metadata"]["labels"]["kuik.dev/cache"] = "false"
    found = plan(seen, folder(tmp_path / "to", a=[web, sided]))
    assert found["policies"]["changed"] == ["Deployment/shop/sided", "Deployment/shop/web"]
    assert {one["image"]: one["action"] for one in found["images"]} == {
        NGINX: "expire",
        DEBIAN: "expire",
        "docker.io/library/proxy:2": "expire",
    }
    assert [one["workload"] for one in found["workloads"]] == ["shop/Deployment/sided"] * 2 + ["shop/Deployment/web"]
    assert {one["after"]["rule"] for one in found["workloads"]} == {"PodLabel"}
    back = plan(seen, folder(tmp_path / "same", a=deployment("shop", "web", "nginx:1")))
    assert (back["changes"], back["policies"]["changed"]) == (False, [])


def test_a_workload_that_goes_or_comes_takes_its_images_along(tmp_path: Path) -> None:
    seen = inventory(tmp_path, namespace("shop"), deployment("shop", "web", "nginx:1"), replica("web-5d-1", "nginx:1"))
    web, new = (folder(tmp_path / name, a=deployment("shop", name, f"{name}:1")) for name in ("web", "new"))
    found = plan(seen, new, "--from", web)
    assert {one["image"]: one["action"] for one in found["images"]} == {
        "docker.io/library/new:1": "cache",
        "docker.io/library/web:1": "expire",
    }


def test_a_patch_of_a_workload_is_passed_over(seen: Path, tmp_path: Path) -> None:
    patch = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"}}
    found = plan(seen, folder(tmp_path / "to", a={**patch, "spec": {"template": {"metadata": {"labels": {}}}}}))
    assert found["policies"]["passedOver"] == ["Deployment/shop/web"]


def test_what_git_does_not_say_of_the_cache_stays(tmp_path: Path) -> None:
    """As `kubectl apply` leaves the fields of others, such as those that helm has set."""
    cache = defaulted(image_cache(retention="7d"))
    seen = inventory(tmp_path, namespace("shop"), pod("shop", "a", "nginx:1"), cached(NGINX), cache)
    found = plan(seen, folder(tmp_path / "to", a=image_cache(mode="OptIn")))
    assert (found["policies"]["changed"], found["images"]) == (["ImageCache/default"], [])
    assert [one["after"]["rule"] for one in found["workloads"]] == ["OptIn"]
    assert plan(seen, folder(tmp_path / "as", a=image_cache(retention="7d")))["policies"]["changed"] == []


def test_labels_of_a_namespace_that_are_there_are_no_change(seen: Path, tmp_path: Path) -> None:
    labelled = inventory(tmp_path, namespace("shop", cache="true", other="x"))
    found = plan(labelled, folder(tmp_path / "to", a=namespace("shop", cache="true")))
    assert (found["changes"], found["policies"]["changed"]) == (False, [])


def test_kuik_and_metacontroller_are_left_alone_wherever_they_are(tmp_path: Path) -> None:
    hooks = deployment("images", "kuik-hooks", "kuik:1")
    hooks["metadata"]["labels"] = {
        "app.kubernetes.io/name": "kube-image-keeper",
        "app.kubernetes.io/component": "hooks",
    }
    other = deployment("control", "mc", "ghcr.io/metacontroller/metacontroller:v4.17.2")
    spaces = [namespace(name) for name in ("images", "control", "kuik-system")]
    seen = inventory(tmp_path, *spaces, hooks, other, deployment("kuik-system", "web", "nginx:1"))
    found = plan(seen, folder(tmp_path / "to", a=image_cache(mode="Off")))
    assert [one["workload"] for one in found["workloads"]] == ["kuik-system/Deployment/web"]


def test_what_may_be_a_mistake_is_said(seen: Path, tmp_path: Path) -> None:
    done = kuik("policy", "plan", "--inventory", seen, "--to", folder(tmp_path / "none"))
    assert (done.exit_code, "holds no policy: is it the folder that was meant?" in done.stderr) == (0, True)
    away = folder(tmp_path / "to", a=policy("own", ns="nowhere") | {"spec": {"images": ["a:1"]}})
    done = kuik("policy", "plan", "--inventory", seen, "--to", away, "-o", "yaml")
    assert "CachePolicy/nowhere/own is of a namespace that the cluster does not have" in done.stderr
    assert yaml.safe_load(done.stdout)["policies"]["added"] == ["CachePolicy/nowhere/own"]
    both = folder(
        tmp_path / "both", a=[policy("own", ns="nowhere") | {"spec": {"images": ["a:1"]}}, namespace("nowhere")]
    )
    assert kuik("policy", "plan", "--inventory", seen, "--to", both).stderr == ""
