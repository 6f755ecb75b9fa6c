"""`kuik check`: what could start with every upstream down, and why the rest could not."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hooks.facts import Settings
from kuik.check.copies import InCluster
from kuik.check.outage import in_outage
from kuik.check.start import starts
from kuik.local.documents import written
from registry.manifest import Platform
from registry.reference import Reference
from tests.kuik.archive.test_archives import keep
from tests.kuik.plan.world import cached, deployment, image_cache, kuik, namespace, pod, policy, rule
from tests.rig.images import image, multi_platform

A, B = "docker.io/library/a:1", "reg.example/b:1"
IMAGES = {Reference.parse(A): multi_platform("a"), Reference.parse(B): image("b")}
AMD, ARM, RISC = (Platform("linux", one) for one in ("amd64", "arm64", "riscv64"))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return keep(tmp_path / "store", IMAGES).root


def check(store: Path, *manifests: dict[str, Any], words: tuple[str, ...] = (), code: int) -> dict[str, str | None]:
    done = kuik("check", "-", "--store", store, "-o", "json", *words, stdin=written(manifests))
    assert done.exit_code == code, done.output
    found = json.loads(done.stdout)
    assert all(one["starts"] is ("reason" not in one) for one in found)
    return {f"{one['workload']} {one['container']}": one.get("reason") for one in found}


def test_what_is_kept_whole_could_start(store: Path) -> None:
    digest = IMAGES[Reference.parse(A)].digest
    found = check(store, deployment("shop", "web", "a:1", B, f"a@{digest}", f"a:9@{digest}"), code=0)
    assert found == {f"shop/Deployment/web c{at}": None for at in range(4)}
    child = image("a", platform="linux/arm64").digest
    assert set(check(store, pod("shop", "x", f"a@{child}"), code=0).values()) == {None}


def test_reasons(store: Path) -> None:
    other = "sha256:" + "5" * 64
    never = pod("shop", "never", "a:1")
    never["spec"]["containers"][0]["imagePullPolicy"] = "Never"
    given = (
        pod("shop", "none", "nginx", f"a:1@{other}", "a:2", "localhost:5000/x:1"),
        pod("shop", "out", "a:1", labels={"kuik.dev/cache": "false"}),
        never,
        policy("p", rule("no-b", "Ignore", images=["reg.example/*"])),
        pod("shop", "ruled", B),
        namespace("away", cache="false"),
        pod("away", "x", "a:1"),
    )
    assert check(store, *given, code=1) == {
        "shop/Pod/none c0": "NotCached",
        "shop/Pod/none c1": "AnotherDigest",
        "shop/Pod/none c2": "NotCached",
        "shop/Pod/none c3": "LoopbackRegistry",
        "shop/Pod/out c0": "PodLabel",
        "shop/Pod/never c0": "PullNever",
        "shop/Pod/ruled c0": "ClusterCachePolicy/p/no-b",
        "away/Pod/x c0": "NamespaceLabel",
    }
    told = kuik("check", "-", "--store", store, stdin=written(given))
    assert "0 of 5 workloads could start" in told.output
    assert "the cache has docker.io/library/a:1, with another digest" in told.output


def test_platforms(store: Path, tmp_path: Path) -> None:
    arm = pod("shop", "arm", "a:1")
    arm["spec"]["nodeSelector"] = {"kubernetes.io/arch": "arm64"}
    assert check(store, arm, code=0)
    assert set(check(store, pod("shop", "x", "a:1"), words=("--platform", "linux/riscv64"), code=1).values()) == {
        "PlatformMissing"
    }
    file, sparse = tmp_path / "a.tar", tmp_path / "sparse"
    kuik("cache", "export", "a:1", "--store", store, "-o", file, "--platform", "linux/amd64")
    kuik("cache", "import", file, "--store", sparse)
    assert set(check(sparse, pod("shop", "x", "a:1"), code=0).values()) == {None}
    assert set(check(sparse, arm, code=1).values()) == {"PlatformMissing"}


def test_an_image_that_lost_a_part_could_not_start(store: Path) -> None:
    layer = max(image("b").blobs.items(), key=lambda one: len(one[1]))[0]
    (store / "blobs" / layer.algorithm / layer.hex).unlink()
    assert check(store, pod("shop", "x", B, "a:1"), code=1) == {"shop/Pod/x c0": "Incomplete", "shop/Pod/x c1": None}


def test_no_workload_is_an_error(store: Path) -> None:
    done = kuik("check", "-", "--store", store, stdin="")
    assert (done.exit_code, "no workload with containers" in done.output) == (1, True)
    assert kuik("check", "--store", store).exit_code == 2


def test_a_clusters_cached_images_are_what_is_cached() -> None:
    own, digest = cached("reg.example/a:1"), "sha256:" + "1" * 64
    past = {"digest": "sha256:" + "2" * 64, "until": "2026-02-01T00:00:00Z"}
    over = {"digest": "sha256:" + "3" * 64, "until": "2026-01-01T00:00:00Z"}
    own["status"]["previousDigests"] = [past, over]
    failed = cached("reg.example/b:1")
    failed["status"] |= {
        "reason": "Unauthorized",
        "message": "no",
        "conditions": [{"type": "Cached", "status": "False"}],
    }
    copies = InCluster((own, failed), datetime(2026, 1, 15, tzinfo=UTC))

    def lack(name: str, *platforms: Platform) -> str:
        found = copies.lack(Reference.parse(name).identity, frozenset(platforms))
        return found.reason if found else ""

    assert [lack(f"reg.example/a{end}") for end in (":1", f"@{digest}", f":1@{past['digest']}")] == ["", "", ""]
    assert lack(f"reg.example/a@{over['digest']}") == "AnotherDigest"
    assert (lack("reg.example/a:2"), lack("reg.example/c:1"), lack("reg.example/b:1")) == ("NotCached",) * 3
    assert (lack("reg.example/a:1", AMD), lack("reg.example/a:1", AMD, ARM)) == ("", "PlatformMissing")
    assert lack("reg.example/a:1", RISC) == "PlatformMissing"


def test_with_mirror_delivery_every_pod_is_served_and_private_images_are_not() -> None:
    """containerd asks the proxies for all pods: no label, policy, mode or namespace leaves one out."""
    public, private = (
        {"visibility": "Public"},
        {"visibility": "Private", "secrets": [{"namespace": "a", "secret": "s"}]},
    )
    images = [cached(A, access=public), cached(B, access=private)]
    objects = [
        *(namespace(name) for name in ("a", "kube-system", "kuik-system")),
        namespace("off", mode="Off", cache="false"),
        policy("p", rule("none", "Ignore")),
        pod("a", "labelled", "a:1", labels={"kuik.dev/cache": "false"}),
        pod("a", "secret", B, secrets=("s",)),
        pod("a", "never", "none:1"),
        *(pod(name, "one", "a:1") for name in ("kube-system", "kuik-system", "off")),
    ]

    def reasons(**spec: Any) -> dict[str, str]:
        found = in_outage(objects, image_cache(**spec), images, Settings())
        listed = starts(found, InCluster(tuple(images), datetime(2026, 1, 1, tzinfo=UTC)), frozenset())
        return {one.workload: one.lack.reason if one.lack else "" for one in listed}

    served = {f"{name}/Pod/one": "" for name in ("kube-system", "kuik-system", "off")}
    assert reasons(delivery="Mirror", mode="OptIn") == {
        "a/Pod/labelled": "",
        "a/Pod/never": "NotCached",
        "a/Pod/secret": "PrivateNoProof",
        **served,
    }
    assert "" not in reasons(delivery="Webhook").values(), "there all of them are left alone"


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"template": {"spec": {"containers": "none"}}}, "spec.template.spec.containers is no list"),
        ({"template": {"spec": {"containers": [{"name": "a"}]}}}, "spec.template.spec.containers[0].image is missing"),
        (None, "spec is no object"),
    ],
)
def test_a_workload_that_cannot_be_read_is_not_passed_over(store: Path, spec: Any, field: str) -> None:
    """What is left out of a list of those that could not start would be taken for one that could."""
    broken = {**deployment("shop", "broken", "a:1"), "spec": spec}
    done = kuik("check", "-", "--store", store, stdin=written([deployment("shop", "web", "a:1"), broken]))
    assert done.exit_code == 1
    assert f"Deployment broken: {field}" in done.stderr
