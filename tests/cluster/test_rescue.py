"""Rescue on a real API server, with the rights of its service account. What kubelet would say, the tests say."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hooks.containers import ORIGINALS
from hooks.facts import Settings
from hooks.own_secrets import CAPABILITY
from hooks.webhook import ON
from kube.client import Api
from kuik.rescue.decision import World, rescue
from kuik.rescue.perform import CHANGED, DONE, perform, pods_of, read_world
from registry.capability import capability
from registry.reference import Reference
from tests.cluster.rig.api import Object
from tests.cluster.rig.control_plane import ControlPlane
from tests.cluster.rig.workloads import namespace, pod
from tests.cluster.test_rights import account
from tests.rig.components import ROOT
from tests.rig.processes import wait_until

SYSTEM = "kuik-system"
SHOP, OUT = "rescued", "rescue-out"
NGINX = "docker.io/library/nginx:9.1"
PROXIED = f"localhost:7439/{NGINX}"
PRIVATE = "reg.example.com/rescued/app:1"
PROXY_LABELS = {"app.kubernetes.io/name": "kube-image-keeper", "app.kubernetes.io/component": "proxy"}
UP, DOWN = "rescue-up", "rescue-down"
"""Nodes whose proxy is Ready and is not."""


@dataclass
class Shop:
    """Two namespaces, two nodes, cached images, and the rescue process."""

    plane: ControlPlane
    kubeconfig: Path

    def create(self, ns: str, name: str, *images: str, node: str = UP, **meta: Any) -> None:
        """A pod on a node; its first container waits, the others run."""
        spec = {"nodeName": node, "tolerations": [{"operator": "Exists"}], **meta.pop("spec", {})}
        made = pod(ns, name, *images, **spec)
        made["metadata"] |= meta
        self.plane.kubectl("create", "-f", "-", stdin=json.dumps(made))
        self.says(ns, name, "ImagePullBackOff", len(images))

    def says(self, ns: str, name: str, reason: str, count: int = 1) -> None:
        waits: Object = {"waiting": {"reason": reason, "message": "Back-off pulling image"}}
        states = [waits, *({"running": {"startedAt": "2026-03-01T12:00:00Z"}} for _ in range(count - 1))]
        entries = [
            {"name": f"c{at}", "state": state, "ready": False, "restartCount": 0, "image": "x", "imageID": ""}
            for at, state in enumerate(states)
        ]
        status = {"phase": "Pending", "containerStatuses": entries}
        self.plane.api.patch(_ref(ns, name), {"status": status}, "status")

    def images(self, ns: str, name: str) -> list[str]:
        return [str(one["image"]) for one in self.pod(ns, name)["spec"]["containers"]]

    def pod(self, ns: str, name: str) -> Object:
        return self.plane.api.request("GET", self.plane.api.path(_ref(ns, name)))

    def run(self, *options: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "kuik.rescue", "--kubeconfig", str(self.kubeconfig), "-o", "json"]
        command += ["--namespace", SHOP, "--namespace", OUT, *options]
        environment = os.environ | {"KUIK_NAMESPACE": SYSTEM}
        return subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    def world(self) -> tuple[Api, World]:
        api = Api.from_kubeconfig(str(self.kubeconfig))
        world, whole = read_world(api, World(mode=ON, settings=Settings()), SYSTEM, print)
        assert whole
        return api, world

    def close(self) -> None:
        self.plane.kubectl("delete", "pod", "-n", SYSTEM, UP, DOWN, "--force", "--grace-period=0")
        self.plane.kubectl("delete", "ci", "rescue-public", "rescue-private")
        self.plane.kubectl("delete", "namespace", SHOP, OUT, "--wait=false")


def _ref(ns: str, name: str) -> Object:
    return {"kind": "Pod", "metadata": {"namespace": ns, "name": name}}


def cached(plane: ControlPlane, name: str, image: str, access: Object) -> None:
    kind = {"apiVersion": "kuik.dev/v1alpha1", "kind": "CachedImage", "metadata": {"name": name}}
    plane.kubectl("apply", "-f", "-", stdin=json.dumps({**kind, "spec": {"image": image, "suspend": True}}))
    at = "2026-03-01T12:00:00Z"
    condition = {"type": "Cached", "status": "True", "reason": "Cached", "message": "", "lastTransitionTime": at}
    plane.api.patch(kind, {"status": {"access": access, "conditions": [condition]}}, "status")


def proxy(plane: ControlPlane, node: str, ready: str) -> None:
    spec = {"nodeName": node, "serviceAccountName": "kuik-copy"}
    made = pod(SYSTEM, node, "kuik", labels=PROXY_LABELS, **spec)
    wait_until(
        lambda: plane.try_kubectl("create", "-f", "-", stdin=json.dumps(made)).returncode == 0, "the proxy is there", 10
    )
    says = {"conditions": [{"type": "Ready", "status": ready}]}
    plane.api.patch(_ref(SYSTEM, node), {"status": says}, "status")


@pytest.fixture(scope="module")
def shop(installed: ControlPlane) -> Iterator[Shop]:
    for name, labels in ((SHOP, {}), (OUT, {"kuik.dev/cache": "false"})):
        installed.kubectl("apply", "-f", "-", stdin=json.dumps(namespace(name, **labels)))
        path = f"api/v1/namespaces/{name}/serviceaccounts/default"
        wait_until(lambda path=path: installed.api.raw("GET", path)[0] == 200, "the account is there", 10)  # type: ignore[misc]
    proxy(installed, UP, "True")
    proxy(installed, DOWN, "False")
    cached(installed, "rescue-public", NGINX, {"visibility": "Public"})
    secrets = [{"namespace": SHOP, "secret": "pull"}]
    cached(installed, "rescue-private", PRIVATE, {"visibility": "Private", "secrets": secrets})
    installed.try_kubectl("create", "secret", "generic", "-n", SYSTEM, CAPABILITY, f"--from-literal=current={'7' * 64}")
    running = Shop(installed, account(installed, "kuik-rescue"))
    yield running
    running.close()


@pytest.fixture(autouse=True)
def empty(shop: Shop) -> Iterator[None]:
    yield
    for name in (SHOP, OUT):
        shop.plane.kubectl("delete", "pods", "-n", name, "--all", "--force", "--grace-period=0", "--wait=false")


def test_both_ways_and_only_the_container_that_waits(shop: Shop) -> None:
    noted = {ORIGINALS: '{"c0":"nginx:9.1","c1":"nginx:9.1"}'}
    shop.create(SHOP, "there", "nginx:9.1", "nginx:9.1")
    shop.create(SHOP, "back", PROXIED, PROXIED, node=DOWN, annotations=noted)
    shop.create(SHOP, "no-proxy", PROXIED, node="rescue-none")
    shop.create(SHOP, "well", PROXIED, annotations=noted)
    shop.create(SHOP, "other", "nginx:9.2")
    dry = shop.run("--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert shop.images(SHOP, "there") == ["nginx:9.1", "nginx:9.1"]
    done = shop.run()
    assert done.returncode == 0, done.stderr
    assert shop.images(SHOP, "there") == [PROXIED, "nginx:9.1"]
    assert json.loads(shop.pod(SHOP, "there")["metadata"]["annotations"][ORIGINALS]) == {"c0": "nginx:9.1"}
    assert shop.images(SHOP, "back") == ["nginx:9.1", PROXIED]
    assert shop.pod(SHOP, "back")["metadata"]["annotations"][ORIGINALS] == '{"c1":"nginx:9.1"}'
    assert shop.images(SHOP, "no-proxy") == [NGINX]
    assert shop.images(SHOP, "well") == [PROXIED]
    assert shop.images(SHOP, "other") == ["nginx:9.2"]
    told = {(row["direction"], row["result"]): row["containers"] for row in json.loads(done.stdout)}
    assert told == {("ToProxy", "Done"): 1, ("ToOriginal", "Done"): 2}
    assert f"Done {SHOP}/there container c0 nginx:9.1 -> {PROXIED}" in done.stderr
    again = shop.run()
    assert (again.returncode, json.loads(again.stdout)) == (0, [])


def test_who_opted_out_is_never_pointed_to_the_proxy_and_gets_the_original_back(shop: Shop) -> None:
    shop.create(OUT, "namespace", "nginx:9.1")
    shop.create(OUT, "label", "nginx:9.1", labels={"kuik.dev/cache": "true"})
    shop.create(SHOP, "label", "nginx:9.1", labels={"kuik.dev/cache": "false"})
    shop.create(OUT, "back", PROXIED, node=DOWN)
    assert shop.run().returncode == 0
    assert shop.images(OUT, "namespace") == ["nginx:9.1"]
    assert shop.images(OUT, "label") == [PROXIED]
    assert shop.images(SHOP, "label") == ["nginx:9.1"]
    assert shop.images(OUT, "back") == [NGINX]


def test_a_private_image_goes_to_the_proxy_by_a_proven_secret_and_no_line_tells_its_name(shop: Shop) -> None:
    shop.create(SHOP, "priv", PRIVATE, spec={"imagePullSecrets": [{"name": "pull"}]})
    shop.create(SHOP, "without", PRIVATE)
    done = shop.run()
    assert done.returncode == 0, done.stderr
    _, world = shop.world()
    opened = capability(world.key, Reference.parse(PRIVATE))
    assert shop.images(SHOP, "priv") == [f"localhost:7439/private/{opened}/{PRIVATE}"]
    assert shop.images(SHOP, "without") == [PRIVATE]
    assert opened not in done.stdout + done.stderr


@pytest.mark.parametrize("change", ["image", "running", "recreated", "gone"])
def test_a_pod_that_changed_between_look_and_patch_is_left(shop: Shop, change: str) -> None:
    shop.create(SHOP, "raced", "nginx:9.1")
    api, world = shop.world()
    [found] = [wanted for one in pods_of(api, [SHOP]) if (wanted := rescue(one, world))]
    if change == "image":
        shop.plane.kubectl("set", "image", "-n", SHOP, "pod/raced", "c0=nginx:9.3")
    elif change == "running":
        running = {
            "name": "c0",
            "state": {"running": {}},
            "ready": True,
            "restartCount": 0,
            "image": "x",
            "imageID": "",
        }
        shop.plane.api.patch(_ref(SHOP, "raced"), {"status": {"containerStatuses": [running]}}, "status")
    else:
        shop.plane.kubectl("delete", "pod", "-n", SHOP, "raced", "--force", "--grace-period=0")
    if change == "recreated":
        made = pod(SHOP, "raced", "nginx:9.1", nodeName=UP)
        shop.plane.kubectl("create", "-f", "-", stdin=json.dumps(made))
    assert [one.result for one in perform(api, found, world, dry_run=False)] == [CHANGED]
    if change != "gone":
        assert shop.images(SHOP, "raced") == ["nginx:9.3" if change == "image" else "nginx:9.1"]


def test_one_that_changed_and_waits_still_is_helped_all_the_same(shop: Shop) -> None:
    shop.create(SHOP, "flips", "nginx:9.1")
    api, world = shop.world()
    [found] = [wanted for one in pods_of(api, [SHOP]) if (wanted := rescue(one, world))]
    shop.says(SHOP, "flips", "ErrImagePull")
    assert [one.result for one in perform(api, found, world, dry_run=False)] == [DONE]
    assert shop.images(SHOP, "flips") == [PROXIED]


def test_what_is_refused_is_told_and_the_others_go_on(shop: Shop) -> None:
    shop.create(SHOP, "a", "nginx:9.1")
    shop.create(OUT, "b", PROXIED, node=DOWN)
    webhook = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "rescue-refused"},
        "spec": {
            "matchConstraints": {
                "resourceRules": [
                    {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["pods"]}
                ]
            },
            "validations": [{"expression": f"request.namespace != '{SHOP}'", "reason": "Forbidden"}],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "rescue-refused"},
        "spec": {"policyName": "rescue-refused", "validationActions": ["Deny"]},
    }
    for one in (webhook, binding):
        shop.plane.kubectl("apply", "-f", "-", stdin=json.dumps(one))
    try:
        wait_until(lambda: _refused(shop), "the policy holds", 20)
        done = shop.run()
    finally:
        for kind in ("validatingadmissionpolicybinding", "validatingadmissionpolicy"):
            shop.plane.kubectl("delete", kind, "rescue-refused")
    assert done.returncode == 1
    assert f"Failed {SHOP}/a container c0" in done.stderr
    assert ": 403: " in done.stderr
    assert shop.images(SHOP, "a") == ["nginx:9.1"]
    assert shop.images(OUT, "b") == [NGINX]


def _refused(shop: Shop) -> bool:
    said = shop.plane.try_kubectl("label", "--dry-run=server", "-n", SHOP, "pod/a", "x=y")
    return said.returncode != 0
