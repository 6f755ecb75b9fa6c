"""Pull requests of policies on a real API server, with the chart's objects and the chart's own hooks and webhook: each
is planned, built by kustomize, applied, and the cluster does what the plan said, object by object, there and back."""

import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from kube.types import Object
from kuik.__main__ import main
from tests.cluster.rig.release import Release, running
from tests.cluster.rig.workloads import cron_job, deployment, namespace, pod
from tests.rig.processes import wait_until

pytestmark = pytest.mark.timeout(300)

EXAMPLES = Path(__file__).parents[2] / "policies"
SPACES = ("shop", "team-a", "ci-1", "one-prod", "two-prod", "ingress-nginx")
GIB = 1 << 30
HUB = "docker.io/library"
UNUSED = f"{HUB}/unused:1"
CNPG = {"apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster", "name": "db", "uid": "1", "controller": True}
INGRESS = "registry.k8s.io/ingress-nginx/controller:v1.12.0"
NEW = "ghcr.io/team/next:1"
PYTORCH = "docker.io/pytorch/pytorch:2.6.0-cuda12.4-cudnn9-runtime"
LEFT = {NEW: "remove", PYTORCH: "remove", INGRESS: "terms"}
"""What pull requests bring along and leave unused, and what then comes of it: the last is still a pod's image."""
OFFICIAL = ("golang:1.26", "haproxy:3", "memcached:1", "nginx:1.27", "postgres:17", "redis:7", "traefik:3")
TERMS = ("retention", "refresh", "platforms", "referrers")


def workload(ns: str, name: str, *images: str, **labels: str) -> Object:
    made = deployment(ns, name, *images)
    made["spec"]["strategy"] = {"type": "Recreate"}  # no kubelet makes a new pod ready
    worn = {f"kuik.dev/{key}": value for key, value in labels.items()}
    made["spec"]["template"]["metadata"]["labels"] |= worn
    return made


def bare(ns: str, name: str, image: str, **meta: Any) -> Object:
    made = pod(ns, name, image)
    return {**made, "metadata": {**made["metadata"], **meta}}


DATABASE = workload("shop", "database", "postgres:17")
PODS = (
    bare("shop", "db-1", "ghcr.io/cloudnative-pg/postgresql:17", ownerReferences=[CNPG]),
    bare("shop", "single", "registry.example.com/team/web:1"),
)
WORLD = (
    workload("shop", "web", "nginx:1.27", "registry.vendor.example/app:stable"),
    DATABASE,
    cron_job("shop", "nightly", "redis:7"),
    workload("team-a", "api", "redis:7", "ghcr.io/team/api:1", cache="true"),
    workload("ingress-nginx", "edge", INGRESS, cache="false"),
    workload("ci-1", "build", "golang:1.26"),
    workload("one-prod", "first", "haproxy:3"),
    workload("one-prod", "second", "memcached:1", cache="true"),
    workload("two-prod", "third", "traefik:3"),
)


@dataclass(frozen=True)
class Change:
    """A pull request: what it builds on, what else it holds, and how it is taken back."""

    folders: tuple[str, ...] = ()
    objects: tuple[Object, ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict)
    """Fields of its kustomization."""
    back: tuple[Object, ...] = ()
    """What git had before of the objects that stay."""
    images: Mapping[str, str] = field(default_factory=dict)
    """What the plan is to say of images, so that a plan which says nothing is not taken for right."""
    rewritten: Mapping[str, bool] = field(default_factory=dict)
    """And of containers, by workload and container."""
    others: tuple[str, ...] = ()
    """And of quotas and images ahead of need."""


def image_cache(**spec: Any) -> Object:
    return {"apiVersion": "kuik.dev/v1alpha1", "kind": "ImageCache", "metadata": {"name": "default"}, "spec": spec}


def unplaced(obj: Object) -> Object:
    return {**obj, "metadata": {name: value for name, value in obj["metadata"].items() if name != "namespace"}}


CHANGES = {
    "a workload opts out by its label": Change(
        objects=(unplaced(DATABASE),),
        more={"namespace": "shop", "components": [str(EXAMPLES / "exclude-a-workload")]},
        back=(DATABASE,),
        images={f"{HUB}/postgres:17": "expire"},
        rewritten={"shop/Deployment/database c0": False},
    ),
    "namespaces are left alone": Change(
        ("exclude-namespaces",),
        images={f"{HUB}/golang:1.26": "expire"},
        rewritten={"ci-1/Deployment/build c0": False},
    ),
    "images are left alone by their names": Change(
        ("exclude-a-registry",),
        images={"registry.example.com/team/web:1": "expire"},
        rewritten={"shop/Pod/single c0": False},
    ),
    "nothing is cached but what asks": Change(
        ("opt-in",),
        objects=(namespace("two-prod", **{"kuik.dev/cache": "true"}),),
        back=(namespace("two-prod"),),
        images={f"{HUB}/haproxy:3": "expire"},
        rewritten={"one-prod/Deployment/first c0": False},
    ),
    "an enforced rule is stronger than a label": Change(
        ("always-cache",), images={INGRESS: "cache"}, rewritten={"ingress-nginx/Deployment/edge c0": True}
    ),
    "some images are kept for longer": Change(
        ("keep-base-images-for-long",),
        images=dict.fromkeys((f"{HUB}/{name}" for name in OFFICIAL), "terms"),
    ),
    "tags do not follow upstream": Change(
        ("pin-a-registrys-tags",), images={"registry.vendor.example/app:stable": "terms"}
    ),
    "images are there ahead of need": Change(
        ("pull-images-ahead",),
        images={
            PYTORCH: "cache",
            # The Deployment of that name uses postgres:17 already.
        },
        others=("ClusterCachePolicy/ahead-of-need/gpu",),
    ),
    "a team has its share": Change(
        ("limit-a-teams-share",),
        objects=(workload("team-a", "next", NEW),),
        images={NEW: "hold"},
        rewritten={"team-a/Deployment/next c0": True},
        others=("team-a",),
    ),
    "the defaults": Change(
        ("defaults",),
        images={"ghcr.io/cloudnative-pg/postgresql:17": "expire"},
        rewritten={"shop/Cluster/db c0": False},
    ),
    "the mode is OptIn": Change(
        objects=(image_cache(mode="OptIn"),),
        back=(image_cache(mode="On"),),
        rewritten={
            "ci-1/Deployment/build c0": False,
            "one-prod/Deployment/first c0": False,
            "two-prod/Deployment/third c0": False,
            "shop/CronJob/nightly c0": False,
            "shop/Cluster/db c0": False,
            "shop/Deployment/database c0": False,
            "shop/Deployment/web c0": False,
            "shop/Deployment/web c1": False,
            "shop/Pod/single c0": False,
        },
    ),
    "what nobody uses goes soon": Change(
        objects=(image_cache(retention="1s"),),
        back=(image_cache(retention="30d"),),
        images={
            UNUSED: "remove",
            **dict.fromkeys(
                (
                    *(f"{HUB}/{name}" for name in OFFICIAL),
                    "ghcr.io/cloudnative-pg/postgresql:17",
                    "ghcr.io/team/api:1",
                    "registry.example.com/team/web:1",
                    "registry.vendor.example/app:stable",
                ),
                "terms",
            ),
        },
    ),
}
LASTING = "what nobody uses goes soon"
"""What cannot be taken back: an image that is gone comes with its next use."""


@dataclass(frozen=True)
class State:
    """What the API server has: CachedImages by their image, what new pods' containers got, what is on nodes."""

    images: Mapping[str, Object]
    rewritten: Mapping[str, bool]
    prefetches: Mapping[str, Object]


class Shop:
    """The cluster that pull requests are about."""

    def __init__(self, release: Release, folder: Path) -> None:
        self.release = release
        self.plane = release.plane
        self.folder = folder

    def open(self) -> None:
        """Workloads, nodes, images that are cached, and one that nothing uses any more."""
        self.apply(*map(namespace, SPACES))
        taint = {"key": "nvidia.com/gpu", "effect": "NoSchedule"}
        for name, labels, taints in (("a", {"accelerator": "nvidia"}, [taint]), ("b", {}, [])):
            meta = {"name": name, "labels": labels}
            self.apply({"apiVersion": "v1", "kind": "Node", "metadata": meta, "spec": {"taints": taints}})
        gone = workload("shop", "gone", "unused:1")
        self.apply(*WORLD, *PODS, gone)
        self.release.settle()
        self.release.copied({"ghcr.io/team/api:1": 60 * GIB})
        self.plane.kubectl("delete", "-f", "-", stdin=json.dumps(gone))
        wait_until(lambda: not self.plane.api.list("Pod", "app%3Dgone"), "its pods are gone", 30)
        self.release.settle()

    def apply(self, *objects: Object) -> None:
        items = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.plane.kubectl("apply", "-f", "-", stdin=json.dumps(items))

    def build(self, name: str, change: Change) -> Path:
        """The pull request as a folder with its kustomization."""
        folder = self.folder / name.replace(" ", "-")
        folder.mkdir()
        (folder / "objects.yaml").write_text(yaml.safe_dump_all(change.objects))
        resources = [*(str(EXAMPLES / one) for one in change.folders), *(["objects.yaml"] if change.objects else [])]
        said = {"resources": [_relative(one, folder) for one in resources], **change.more}
        if "components" in said:
            said["components"] = [_relative(one, folder) for one in said["components"]]
        (folder / "kustomization.yaml").write_text(yaml.safe_dump({"kind": "Kustomization", **said}))
        return folder

    def built(self, folder: Path) -> str:
        return self.plane.kubectl("kustomize", "--load-restrictor=LoadRestrictionsNone", str(folder))

    def plan(self, to: str, *words: str, code: int = 2) -> dict[str, Any]:
        """What `kuik policy plan` says with the cluster, and the same with its exported inventory."""
        asked = ("--kubeconfig", str(self.plane.kubeconfig()))
        run = CliRunner()
        command = ("policy", "plan", "--to", "-", "-o", "json", "--detailed-exitcode", *words)
        done = run.invoke(main, [*command, "--cluster", *asked], input=to)
        assert done.exit_code == code, done.output
        exported = self.folder / "inventory.json"
        exported.write_text(run.invoke(main, ["policy", "inventory", *asked]).stdout)
        again = run.invoke(main, [*command, "--inventory", str(exported)], input=to)
        assert json.loads(again.stdout) == json.loads(done.stdout), "what was exported says the same"
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def state(self, expected: Mapping[str, bool]) -> State:
        """Once the stages are at rest. Pods are made anew until they are as expected: admission learns by a watch."""
        self.release.settle()
        until = time.monotonic() + 20
        while (rewritten := self._made_anew()) != expected and time.monotonic() < until:
            time.sleep(0.5)
        self.release.settle()
        images = {one["spec"]["image"]: one for one in self.plane.api.list("CachedImage")}
        prefetches = {one["spec"]["origin"]: one for one in self.plane.api.list("ImagePrefetch")}
        return State(images, rewritten, prefetches)

    def rewritten(self) -> Mapping[str, bool]:
        return self._made_anew()

    def _made_anew(self) -> dict[str, bool]:
        for space in SPACES:
            self.plane.kubectl(
                "delete", "pods,jobs", "--all", "-n", space, "--grace-period=0", "--force", "--wait=false"
            )
        self.apply(*PODS)
        self.plane.kubectl("create", "job", "-n", "shop", "--from=cronjob/nightly", "nightly-29000000")
        wanted = {_workload(one) for one in self._deployments()} | {"shop/Pod/single", "shop/Cluster/db"}
        wanted.add("shop/CronJob/nightly")
        wait_until(lambda: set(self._containers()) == wanted, f"the pods of {sorted(wanted)} are made", 30)
        return {f"{user} {name}": is_so for user, found in self._containers().items() for name, is_so in found.items()}

    def _deployments(self) -> list[Object]:
        return [one for one in self.plane.api.list("Deployment") if one["metadata"]["namespace"] in SPACES]

    def _containers(self) -> dict[str, dict[str, bool]]:
        found: dict[str, dict[str, bool]] = {}
        for one in self.plane.api.list("Pod"):
            if one["metadata"]["namespace"] in SPACES and "deletionTimestamp" not in one["metadata"]:
                images = {each["name"]: each["image"] for each in one["spec"]["containers"]}
                found[_user(one)] = {name: image.startswith("localhost:7439/") for name, image in images.items()}
        return found


def _relative(path: str, folder: Path) -> str:
    return os.path.relpath(path, folder.resolve()) if path.startswith("/") else path


def _workload(obj: Object) -> str:
    meta = obj["metadata"]
    return f"{meta['namespace']}/{obj['kind']}/{meta['name']}"


def _user(obj: Object) -> str:
    meta = obj["metadata"]
    owners = meta.get("ownerReferences") or [{"kind": "Pod", "name": meta["name"]}]
    kind, name = owners[0]["kind"], owners[0]["name"]
    if kind == "ReplicaSet":
        kind, name = "Deployment", name.rpartition("-")[0]
    elif kind == "Job":
        kind, name = "CronJob", name.rpartition("-")[0]
    return f"{meta['namespace']}/{kind}/{name}"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with running(tmp_path_factory.mktemp("release")) as release:
        opened = Shop(release, tmp_path_factory.mktemp("git"))
        opened.open()
        yield opened


@pytest.fixture(scope="module")
def real_shop(real_metacontroller: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with running(tmp_path_factory.mktemp("release"), real=True) as release:
        opened = Shop(release, tmp_path_factory.mktemp("git"))
        opened.open()
        yield opened


@pytest.mark.parametrize("name", CHANGES)
def test_a_pull_request_does_what_its_plan_says(shop: Shop, name: str) -> None:
    _does_what_its_plan_says(shop, name)


@pytest.mark.parametrize("name", ["a workload opts out by its label", "images are there ahead of need", LASTING])
def test_it_does_so_with_the_real_metacontroller(real_shop: Shop, name: str) -> None:
    _does_what_its_plan_says(real_shop, name)


def _does_what_its_plan_says(shop: Shop, name: str) -> None:
    change = CHANGES[name]
    before = shop.state(shop.rewritten())
    assert before.images.keys() >= {UNUSED}
    folder = shop.build(name, change)
    to = shop.built(folder)
    planned = shop.plan(to)
    left = LEFT if name == LASTING else {}
    expected = {**change.images, **{image: what for image, what in left.items() if image in before.images}}
    assert {one["image"]: one["action"] for one in planned["images"]} == expected
    assert _containers(planned) == change.rewritten
    assert {one.get("namespace") or one["prefetch"] for one in (*planned["quotas"], *planned["prefetches"])} == set(
        change.others
    )
    shop.plane.kubectl("apply", "-f", "-", stdin=to)
    after = shop.state({**before.rewritten, **_containers(planned)})
    _is_as_planned(before, planned, after)
    assert not shop.plan(to, code=0)["changes"], "nothing is left to do"
    if name == LASTING:
        return
    old = shop.folder / f"old-{folder.name}.yaml"
    old.write_text(to)
    back = yaml.safe_dump_all(change.back)
    planned = shop.plan(back, "--from", str(old))
    _take_back(shop, to, change)
    again = shop.state({**after.rewritten, **_containers(planned)})
    _is_as_planned(after, planned, again)
    assert again.rewritten == before.rewritten


def _take_back(shop: Shop, to: str, change: Change) -> None:
    """As a tool of GitOps does that prunes: what is not in git any more is deleted."""
    kept = {(one["kind"], one["metadata"]["name"]) for one in change.back}
    gone = [one for one in yaml.safe_load_all(to) if (one["kind"], one["metadata"]["name"]) not in kept]
    if gone:
        shop.plane.kubectl("delete", "-f", "-", stdin=yaml.safe_dump_all(gone))
    if change.back:
        shop.apply(*change.back)


def _containers(planned: Object) -> dict[str, bool]:
    changed = {f"{one['workload']} {one['container']}": one["after"] for one in planned["workloads"]}
    return {name: after["rewritten"] for name, after in changed.items() if after}


def _is_as_planned(before: State, planned: Object, after: State) -> None:
    """Object by object: what the plan names is as it says, and nothing else has changed."""
    gone = {f"{one['workload']} {one['container']}" for one in planned["workloads"] if not one["after"]}
    wanted = {**before.rewritten, **_containers(planned)}
    assert after.rewritten == {name: is_so for name, is_so in wanted.items() if name not in gone}
    changes = {one["image"]: one for one in planned["images"]}
    for image in before.images.keys() | after.images.keys():
        old, new, change = before.images.get(image), after.images.get(image), changes.get(image)
        if change is None:
            assert old, image
            assert new, image
            assert _lasting(old) == _lasting(new), image
            continue
        assert _action(old, new, change) == change["action"], (image, change, old, new)
        if new:
            assert _terms(new) == {name: change["after"][name] for name in TERMS}, image
            assert new["spec"].get("usedBy", []) == change["usedBy"] or change["action"] == "expire", image
    assert changes.keys() <= before.images.keys() | after.images.keys()
    for one in planned["prefetches"]:
        found = after.prefetches.get(one["prefetch"])
        assert (found is None) == (one["after"] is None)
        if found:
            said = {name: found["spec"].get(name) for name in ("namespace", "nodeSelector", "every", "parallel")}
            assert said == {name: one["after"][name] for name in said}
            assert found["status"]["nodes"] == one["after"]["nodes"]
    assert after.prefetches.keys() - before.prefetches.keys() <= {one["prefetch"] for one in planned["prefetches"]}


def _action(old: Object | None, new: Object | None, change: Object) -> str:
    """What became of an image, told from its CachedImage alone."""
    if new is None:
        return "remove"
    if "hold" in new["spec"]:
        return "hold"
    if old is None or ("hold" in old["spec"] and "unusedSince" not in new["spec"]):
        return "cache"
    if new["spec"].get("remove") and not old["spec"].get("remove"):
        return "leave"
    unused = ("unusedSince" in old["spec"], "unusedSince" in new["spec"])
    return {(False, True): "expire", (True, False): "use"}.get(unused, str(change["action"]))


def _terms(image: Object) -> dict[str, str]:
    spec = image["spec"]
    return {
        "retention": spec["retention"],
        "refresh": f"{spec['refresh']['mode']} every {spec['refresh']['interval']}",
        "platforms": ", ".join(spec["platforms"]) or "all",
        "referrers": "kept" if spec.get("referrers") else "not kept",
    }


def _lasting(image: Object) -> Any:
    """What stays as long as nothing changes; which of several are being copied, and for whom, is in no plan."""
    turns = ("suspend", "waiting", "usedBy", "users")
    spec = {name: value for name, value in image["spec"].items() if name not in turns}
    return image["metadata"]["uid"], spec
