"""`python -m kuik.uninstall` on a real API server, where neither Metacontroller nor the hooks run any more."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from hooks.containers import ORIGINALS
from hooks.facts import Settings
from hooks.webhook import ON, configuration
from tests.cluster.rig.api import Object
from tests.cluster.rig.control_plane import ControlPlane
from tests.cluster.rig.workloads import image_cache, namespace, pod
from tests.rig.components import ROOT
from tests.rig.processes import wait_until

NS = "left"
PROXIED = "localhost:7439/docker.io/library/nginx:1.27"
INVENTORIES = "apis/kuik.dev/v1alpha1/imageinventories"
CACHE = "apis/kuik.dev/v1alpha1/imagecaches/default"
WEBHOOK = "apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/kuik"


@pytest.fixture
def cluster(installed: ControlPlane) -> Iterator[ControlPlane]:
    inventory: Object = {"apiVersion": "kuik.dev/v1alpha1", "kind": "ImageInventory", "metadata": {"name": NS}}
    inventory["spec"] = {"namespace": NS, "images": []}
    made = [namespace(NS), image_cache(mode=ON), configuration(ON, "", Settings()), inventory]
    for one in made:
        installed.kubectl("apply", "-f", "-", stdin=json.dumps(one))
    account = f"api/v1/namespaces/{NS}/serviceaccounts/default"
    wait_until(lambda: installed.api.raw("GET", account)[0] == 200, "the namespace's account is there")
    yield installed
    for path in (CACHE, WEBHOOK, f"{INVENTORIES}/{NS}"):
        installed.api.raw("DELETE", path)
    installed.try_kubectl("delete", "pods", "-n", NS, "--all", "--force", "--grace-period=0")
    installed.kubectl("delete", "namespace", NS)


def leave(plane: ControlPlane, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "kuik.uninstall", "--kubeconfig", str(plane.kubeconfig()), *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def there(plane: ControlPlane, path: str) -> bool:
    return plane.api.raw("GET", path)[0] == 200


def rewritten(plane: ControlPlane, name: str, **spec: Any) -> None:
    one = pod(NS, name, PROXIED, **spec)
    one["metadata"]["annotations"] = {ORIGINALS: json.dumps({"c0": "nginx:1.27"})}
    plane.kubectl("create", "-f", "-", stdin=json.dumps(one))


def running(plane: ControlPlane, name: str) -> None:
    states = [{"name": "c0", "state": {"running": {}}, "ready": True, "restartCount": 0, "image": "x", "imageID": ""}]
    status = {"phase": "Running", "containerStatuses": states}
    plane.api.patch({"kind": "Pod", "metadata": {"namespace": NS, "name": name}}, {"status": status}, "status")


def test_nothing_is_left_that_could_touch_a_pod(cluster: ControlPlane) -> None:
    rewritten(cluster, "waits", nodeSelector={"no": "node"})
    done = leave(cluster)
    assert done.returncode == 0, done.stderr
    assert cluster.api.request("GET", CACHE)["spec"]["mode"] == "Off"
    assert not there(cluster, WEBHOOK)
    assert cluster.api.request("GET", INVENTORIES)["items"] == []
    kept = cluster.api.request("GET", f"api/v1/namespaces/{NS}/pods/waits")
    assert kept["spec"]["containers"][0]["image"] == "nginx:1.27"
    assert leave(cluster).returncode == 0, "a second time does no harm"


def test_as_long_as_a_pod_needs_the_proxies_all_stays_but_the_webhook(cluster: ControlPlane) -> None:
    rewritten(cluster, "runs", nodeName="left-node", tolerations=[{"operator": "Exists"}])
    running(cluster, "runs")
    done = leave(cluster, "--timeout", "1")
    assert done.returncode == 1
    assert f"{NS}/runs" in done.stderr
    assert not there(cluster, WEBHOOK)
    assert there(cluster, f"{INVENTORIES}/{NS}"), "what the cache rests on is there until nobody needs it"
    ignored = leave(cluster, "--pods", "Ignore")
    assert ignored.returncode == 0, ignored.stderr
    assert not there(cluster, f"{INVENTORIES}/{NS}")


def test_a_cluster_without_kuiks_kinds_is_left_as_it_is(cluster: ControlPlane) -> None:
    for path in (CACHE, WEBHOOK):
        assert cluster.api.raw("DELETE", path)[0] == 200
    done = leave(cluster, "--timeout", "0")
    assert done.returncode == 0, done.stderr
