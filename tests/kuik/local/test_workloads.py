"""What a cluster would run for a set of manifests."""

from typing import Any

import pytest

from kuik.local.secrets import pull_secrets
from kuik.local.workloads import cluster_objects
from tests.rig.manifests import deployment, pull_secret


def kinds(*manifests: dict[str, Any]) -> set[tuple[str, str, str]]:
    return {(key.kind, key.namespace, key.name) for key in cluster_objects(manifests)}


def workload(kind: str, name: str, **metadata: Any) -> dict[str, Any]:
    made = deployment(name, "nginx", **metadata)
    return {**made, "kind": kind, "apiVersion": "batch/v1" if kind == "Job" else "apps/v1"}


def test_namespaces_exist_as_they_are_named() -> None:
    found = kinds(deployment("a", "nginx"), deployment("b", "nginx", namespace="shop"))
    assert ("Namespace", "", "default") in found
    assert ("Namespace", "", "shop") in found
    assert ("Deployment", "shop", "b") in found


def test_a_replica_set_and_a_job_stand_as_their_pods() -> None:
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "controller": True}
    owned = workload("ReplicaSet", "web-1", ownerReferences=[owner])
    objects = cluster_objects([workload("Job", "once"), owned])
    owners = {obj["metadata"]["ownerReferences"][0]["kind"]: obj for obj in objects.values() if obj["kind"] == "Pod"}
    assert owners.keys() == {"Job", "Deployment"}
    assert owners["Job"]["spec"]["containers"][0]["image"] == "nginx"


def test_old_versions_count_and_other_kinds_do_not() -> None:
    old = {**deployment("a", "nginx"), "apiVersion": "extensions/v1beta1"}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}}
    assert {(key.api_version, key.kind) for key in cluster_objects([old, service])} == {
        ("apps/v1", "Deployment"),
        ("v1", "Namespace"),
    }


def test_pull_secrets_of_both_forms_and_what_is_wrong_with_others() -> None:
    good = pull_secret("good", "r.io", "u", "topsecret", namespace="shop")
    old = {**pull_secret("old", "r.io", "u", "p"), "type": "kubernetes.io/dockercfg", "data": None}
    old["stringData"] = {".dockercfg": '{"r.io": {"username": "u", "password": "p"}}'}
    other = {**good, "type": "Opaque"}
    found = pull_secrets([good, old, other])
    assert found.configs.keys() == {"shop/good", "default/old"}
    assert found.errors == ()


@pytest.mark.parametrize("data", [None, {}, {".dockerconfigjson": "not base64"}, {".dockerconfigjson": "dG9wc2VjcmV0"}])
def test_a_bad_secret_is_named_without_its_content(data: Any) -> None:
    found = pull_secrets([{**pull_secret("bad", "r.io", "u", "p"), "data": data}])
    assert found.configs == {}
    assert len(found.errors) == 1
    assert "default/bad" in found.errors[0]
    assert "topsecret" not in found.errors[0]
