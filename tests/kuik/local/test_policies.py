"""Policies among the manifests of local mode."""

import json
from typing import Any

import pytest

from kuik.local.documents import ManifestError
from kuik.local.manifests import parse
from kuik.local.workloads import cluster_objects


def policy(rule: Any, kind: str = "CachePolicy") -> dict[str, Any]:
    spec = {"rules": [{"name": "r", "action": "Ignore", **rule}]}
    return {"apiVersion": "kuik.dev/v1alpha1", "kind": kind, "metadata": {"name": "p"}, "spec": spec}


@pytest.mark.parametrize("kind", ["CachePolicy", "ClusterCachePolicy"])
@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"action": "Drop"}, "spec.rules.0.action"),
        ({"match": {"image": ["x"]}}, "spec.rules.0.match: unknown field image"),
        ({"retention": "30d"}, "spec.rules.0: action Ignore caches nothing"),
        ({"referrers": True}, "spec.rules.0: action Ignore caches nothing"),
        ({"action": "Cache", "retention": "30 days"}, "spec.rules.0.retention"),
        ({"match": {"images": ["docker.io/(a|b)"]}}, "spec.rules.0.match.images.0"),
        ({"action": "Cache", "retension": "7d", "refresh": {}}, "'mode' is missing"),
        ({"action": "Cache", "retension": "7d", "refresh": {}}, "unknown field retension"),
        ({"match": {"podSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}}, "values"),
    ],
)
def test_what_an_api_server_refuses_is_refused_by_its_field(kind: str, rule: Any, said: str) -> None:
    with pytest.raises(ManifestError, match=r"all\.yaml: document 1: .*Policy p: ") as refused:
        parse(json.dumps(policy(rule, kind)), "all.yaml")
    assert said in str(refused.value)


def test_they_are_defaulted_and_stand_in_their_namespace() -> None:
    found = parse(json.dumps(policy({"action": "Cache", "refresh": {"mode": "Sync"}})), "all.yaml")
    objects = {key.kind: (key.namespace, obj) for key, obj in cluster_objects(found).items()}
    namespace, stored = objects["CachePolicy"]
    assert namespace == "default"
    assert stored["spec"]["rules"][0]["refresh"] == {"mode": "Sync", "interval": "1h"}
    everywhere = parse(json.dumps(policy({}, "ClusterCachePolicy")), "all.yaml")
    assert {(key.kind, key.namespace) for key in cluster_objects(everywhere)} >= {("ClusterCachePolicy", "")}
