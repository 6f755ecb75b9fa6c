"""`kuik pods revert` on a real API server: budgets, controllers and refusals are real; a thread plays kubelet."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from hooks.containers import ORIGINALS
from tests.cluster.rig.api import Object, Refused
from tests.cluster.rig.control_plane import ControlPlane
from tests.cluster.rig.workloads import deployment, namespace, pod
from tests.rig.components import ROOT
from tests.rig.processes import wait_until

NS = "reverted"
NGINX = "docker.io/library/nginx:1.27"
PROXIED = f"localhost:7439/{NGINX}"


@pytest.fixture
def shop(installed: ControlPlane) -> Iterator[ControlPlane]:
    installed.kubectl("create", "-f", "-", stdin=json.dumps(namespace(NS)))
    account = f"api/v1/namespaces/{NS}/serviceaccounts/default"
    wait_until(lambda: installed.api.raw("GET", account)[0] == 200, "the namespace's account is there")
    yield installed
    installed.kubectl("delete", "namespace", NS, "--wait=false")
    for one in pods(installed):  # no kubelet confirms that they ended
        installed.try_kubectl("delete", "pod", "-n", NS, one["metadata"]["name"], "--force", "--grace-period=0")
    wait_until(lambda: installed.api.raw("GET", f"api/v1/namespaces/{NS}")[0] == 404, "the namespace is gone")


def pods(plane: ControlPlane) -> list[Object]:
    return list(plane.api.request("GET", f"api/v1/namespaces/{NS}/pods")["items"])


def named(one: Object) -> Object:
    return {"kind": "Pod", "metadata": {"namespace": NS, "name": one["metadata"]["name"]}}


def revert(plane: ControlPlane, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "kuik", "pods", "revert", "-n", NS, "-o", "json"]
    command += ["--kubeconfig", str(plane.kubeconfig()), *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


@contextmanager
def kubelet(plane: ControlPlane) -> Iterator[list[int]]:
    """Starts every pod, and ends those that are on their way out. What it gives counts the ready ones at each look."""
    ended = threading.Event()
    looks: list[int] = []

    def look() -> None:
        ready = 0
        for one in pods(plane):
            try:
                if one["metadata"].get("deletionTimestamp"):
                    path = f"api/v1/namespaces/{NS}/pods/{one['metadata']['name']}"
                    plane.api.request("DELETE", path, {"gracePeriodSeconds": 0})
                elif is_ready(one):
                    ready += 1
                else:
                    plane.api.patch(named(one), {"status": running(one)}, "status")
            except Refused:
                continue  # it went meanwhile
        looks.append(ready)

    def work() -> None:
        while not ended.is_set():
            look()
            time.sleep(0.1)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield looks
    finally:
        ended.set()
        thread.join(10)


def is_ready(one: Object) -> bool:
    conditions = one["status"].get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def running(one: Object) -> Object:
    states = [
        {"name": c["name"], "state": {"running": {}}, "ready": True, "restartCount": 0, "image": "x", "imageID": ""}
        for c in one["spec"]["containers"]
    ]
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    conditions = [{"type": "Ready", "status": "True", "lastTransitionTime": now}]
    return {"phase": "Running", "startTime": now, "containerStatuses": states, "conditions": conditions}


def rewritten(plane: ControlPlane, replicas: int) -> list[Object]:
    """The pods of Deployment `web`, as if admission had pointed them to the proxy when it made them."""
    made = deployment(NS, "web", PROXIED, replicas=replicas, nodeName="reverted-node")
    made["spec"]["template"]["metadata"]["annotations"] = {ORIGINALS: json.dumps({"c0": "nginx:1.27"})}
    plane.kubectl("create", "-f", "-", stdin=json.dumps(made))
    wait_until(lambda: len(pods(plane)) == replicas, "the Deployment's pods are made")
    return pods(plane)


def turn_off(plane: ControlPlane) -> None:
    """From now on the Deployment's new pods are made as without kuik; those that are there stay as they are."""
    for one in pods(plane):
        assert one["spec"]["containers"][0]["image"] == PROXIED
    # The template has the proxy's name only because no admission runs here: a paused Deployment with its ReplicaSet's
    # template changed makes new pods from that, and leaves the old ones.
    plane.kubectl("rollout", "pause", "deployment/web", "-n", NS)
    sets = plane.api.request("GET", f"apis/apps/v1/namespaces/{NS}/replicasets")["items"]
    change: Any = {"spec": {"template": {"spec": {"containers": [{"name": "c0", "image": "nginx:1.27"}]}}}}
    path = f"apis/apps/v1/namespaces/{NS}/replicasets/{sets[0]['metadata']['name']}"
    plane.api.request("PATCH", path, change, "application/strategic-merge-patch+json")


def test_what_runs_is_rolled_under_its_budget_and_nothing_else_is_touched(shop: ControlPlane) -> None:
    with kubelet(shop) as looks:
        rewritten(shop, 3)
        other = pod(NS, "alone", PROXIED, nodeName="reverted-node")
        other["metadata"]["annotations"] = {ORIGINALS: json.dumps({"c0": "nginx:1.27"})}
        shop.kubectl("create", "-f", "-", stdin=json.dumps(other))
        shop.kubectl("create", "pdb", "web", "-n", NS, "--selector=app=web", "--min-available=2")
        wait_until(lambda: looks[-1:] == [4], "all of them are ready")
        budget = f"apis/policy/v1/namespaces/{NS}/poddisruptionbudgets/web"
        wait_until(lambda: shop.api.request("GET", budget)["status"]["disruptionsAllowed"] == 1, "the budget is known")
        turn_off(shop)
        told = revert(shop)
        assert told.returncode == 1, told.stderr
        assert {one["pod"]: one["step"] for one in json.loads(told.stdout)} == {
            **{one["metadata"]["name"]: "Evict" for one in pods(shop) if one["metadata"]["name"] != "alone"},
            "alone": "Alone",
        }
        before = {one["metadata"]["name"] for one in pods(shop)}
        at = len(looks)
        done = revert(shop, "--evict", "--timeout", "40")
        assert done.returncode == 1, done.stderr
        assert [one["pod"] for one in json.loads(done.stdout)] == ["alone"]
        images = {one["metadata"]["name"]: one["spec"]["containers"][0]["image"] for one in pods(shop)}
        assert sorted(images.values()) == [PROXIED, "nginx:1.27", "nginx:1.27", "nginx:1.27"]
        assert set(images) & before == {"alone"}
        assert min(looks[at:]) >= 3, "two of three, and the one that nobody touches"


def test_a_budget_that_allows_nothing_is_respected(shop: ControlPlane) -> None:
    with kubelet(shop) as looks:
        rewritten(shop, 1)
        shop.kubectl("create", "pdb", "web", "-n", NS, "--selector=app=web", "--min-available=1")
        wait_until(lambda: looks[-1:] == [1], "it is ready")
        turn_off(shop)
        done = revert(shop, "--evict", "--timeout", "4")
    assert done.returncode == 1
    assert "Refused" in done.stderr
    assert [one["spec"]["containers"][0]["image"] for one in pods(shop)] == [PROXIED]


def test_evictions_stop_where_new_pods_are_pointed_to_the_proxy_again(shop: ControlPlane) -> None:
    with kubelet(shop) as looks:
        old = {one["metadata"]["uid"] for one in rewritten(shop, 3)}
        wait_until(lambda: looks[-1:] == [3], "all of them are ready")
        done = revert(shop, "--evict", "--timeout", "30")
    assert "StillRewritten" in done.stderr
    assert len({one["metadata"]["uid"] for one in pods(shop)} & old) == 2


def test_what_has_no_node_gets_its_original_back_at_once(shop: ControlPlane) -> None:
    waiting = pod(NS, "new", PROXIED, nodeSelector={"no": "node"})
    shop.kubectl("create", "-f", "-", stdin=json.dumps(waiting))
    done = revert(shop)
    assert (done.returncode, json.loads(done.stdout)) == (0, []), done.stderr
    assert [one["spec"]["containers"][0]["image"] for one in pods(shop)] == [NGINX]
    assert "no pod needs" not in done.stdout
