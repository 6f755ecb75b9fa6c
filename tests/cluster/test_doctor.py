"""`kuik doctor` on a real API server: what policies, Pod Security and rights really answer."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from kube.client import Api
from kuik.doctor.gather import gather
from tests.cluster.rig.control_plane import ControlPlane
from tests.cluster.rig.workloads import namespace
from tests.rig.components import ROOT
from tests.rig.processes import wait_until

NS = "examined"
POLICY = "no-loopback-registries"


@pytest.fixture
def shop(installed: ControlPlane) -> Iterator[ControlPlane]:
    installed.kubectl("create", "-f", "-", stdin=json.dumps(namespace(NS)))
    account = f"api/v1/namespaces/{NS}/serviceaccounts/default"
    wait_until(lambda: installed.api.raw("GET", account)[0] == 200, "the namespace's account is there")
    yield installed
    installed.kubectl("delete", "namespace", NS)


def doctor(plane: ControlPlane, *options: str, token: str = "") -> dict[str, list[dict[str, Any]]]:
    """The findings by what was looked at."""
    config = plane.kubeconfig("examined", token) if token else plane.kubeconfig()
    command = [sys.executable, "-m", "kuik", "doctor", "-n", NS, "-o", "json", "--kubeconfig", str(config), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout, done.stderr
    found: dict[str, list[dict[str, Any]]] = {}
    for one in json.loads(done.stdout):
        found.setdefault(one["check"], []).append(one)
    levels = {one["level"] for each in found.values() for one in each}
    assert done.returncode == (1 if "fails" in levels else 0)
    return found


def before(plane: ControlPlane) -> str:
    return plane.kubectl("get", "pods", "-n", NS, "-o", "name")


def test_an_ordinary_namespace_is_well_and_nothing_is_made_there(shop: ControlPlane) -> None:
    found = doctor(shop)
    assert found["names"][0]["level"] == "ok"
    assert found["host-network"][0]["level"] == "ok"
    assert before(shop) == ""


def test_a_policy_that_refuses_the_proxys_names_is_found_by_trying(shop: ControlPlane) -> None:
    rule = "object.spec.containers.all(c, !c.image.startsWith('localhost'))"
    here = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NS}}}
    binding = {"policyName": POLICY, "validationActions": ["Deny"], "matchResources": here}
    matched = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    policy = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [matched]},
        "validations": [{"expression": rule, "message": "images come from registry.example alone"}],
    }
    group = "admissionregistration.k8s.io/v1"
    for kind, spec in (("ValidatingAdmissionPolicy", policy), ("ValidatingAdmissionPolicyBinding", binding)):
        made = {"apiVersion": group, "kind": kind, "metadata": {"name": POLICY}, "spec": spec}
        shop.kubectl("create", "-f", "-", stdin=json.dumps(made))
    try:
        wait_until(lambda: doctor(shop)["names"][0]["level"] == "fails", "the policy is in force")
        assert "images come from registry.example alone" in doctor(shop)["names"][0]["what"]
    finally:
        shop.kubectl("delete", f"validatingadmissionpolicies/{POLICY}", f"validatingadmissionpolicybindings/{POLICY}")


def test_pod_security_that_keeps_the_node_proxy_out_is_found(shop: ControlPlane) -> None:
    shop.kubectl("label", "namespace", NS, "pod-security.kubernetes.io/enforce=baseline")
    found = doctor(shop, "--kuik-namespace", NS)
    assert found["host-network"][0]["level"] == "fails"
    assert "hostNetwork" in found["host-network"][0]["what"]
    assert (
        f"kubectl label namespace {NS} pod-security.kubernetes.io/enforce=privileged" in found["host-network"][0]["do"]
    )
    assert found["names"][0]["level"] == "ok"


def test_the_rights_of_metacontrollers_account_are_asked_for(shop: ControlPlane) -> None:
    container = {"name": "metacontroller", "image": "metacontroller:v4.17.2"}
    spec = {"serviceAccountName": "default", "containers": [container], "nodeSelector": {"no": "node"}}
    made = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "metacontroller", "namespace": NS}, "spec": spec}
    shop.kubectl("create", "-f", "-", stdin=json.dumps(made))
    seen = gather(Api.from_kubeconfig(str(shop.kubeconfig())), "kuik-system", NS)
    assert isinstance(seen.rights, dict)
    assert set(seen.rights.values()) == {False}
    assert seen.rights["create cachedimages"] is False


def test_what_may_not_be_read_is_said_to_be_unknown(shop: ControlPlane) -> None:
    token = shop.kubectl("create", "token", "-n", NS, "default").strip()
    found = doctor(shop, token=token)
    levels = {one["level"] for each in found.values() for one in each}
    assert levels == {"unknown"}
    assert "forbidden" in json.dumps(found)
