"""The chart's values: what its schema takes and refuses, and that schema, copies and table are current."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from scripts import chart

VALUES = yaml.safe_load((chart.CHART / "values.yaml").read_text())
SCHEMA = yaml.safe_load(chart.SCHEMA.read_text())
VALIDATOR = jsonschema.Draft7Validator(SCHEMA)
ROOT = Path(__file__).parents[2]


def with_values(said: dict[str, Any], base: dict[str, Any] = VALUES) -> dict[str, Any]:
    """Values as helm merges them: maps into maps, all else in place of what was there."""
    made = dict(base)
    for name, value in said.items():
        inside = base.get(name)
        made[name] = with_values(value, inside) if isinstance(value, dict) and isinstance(inside, dict) else value
    return made


GOOD: dict[str, dict[str, Any]] = {
    "none": {},
    "audit": {"imageCache": {"spec": {"mode": "Audit"}}},
    "mirror": {"imageCache": {"spec": {"delivery": "Mirror"}}, "mirror": {"configPath": "/etc/containerd/certs.d"}},
    "digest": {"image": {"repository": "registry.example:5000/kuik", "digest": f"sha256:{'0' * 64}"}},
    "a registry": {"image": {"registry": "registry.example:5000/mirror", "tag": "1"}},
    "s3": {"registry": {"storage": "S3", "replicas": 3, "s3": {"bucket": "images", "endpoint": "http://minio:9000"}}},
    "shared": {"registry": {"storage": "Shared", "volume": {"existingClaim": "nfs", "size": "1.5Ti"}}},
    "volumes": {"registry": {"replicas": 3, "nodeSelector": {"disk": "ssd"}}},
    "registries": {"imageCache": {"spec": {"registries": [{"host": "docker.io", "mirrors": [{"host": "m.example"}]}]}}},
    "surge": {"proxy": {"maxSurge": 1}},
    "labels like ours": {"labels": {"app.kubernetes.io/version": "1"}, "hooks": {"nodeSelector": {"a": ""}}},
    "amounts": {"proxy": {"resources": {"requests": {"cpu": 0.5, "memory": "1.5Gi"}, "limits": {"cpu": "250m"}}}},
    "a long interval": {"metrics": {"serviceMonitor": {"interval": "1m30s"}}},
    "policies": {"networkPolicies": {"enabled": True, "nodes": ["10.0.0.0/16", "fd00::/8"]}},
    "another domain": {"clusterDNS": {"domain": "k8s.example", "addresses": ["10.233.0.3", "fd00::a"]}},
    "monitoring": {"metrics": {"serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}}},
    "as part of another chart": {"global": {"anything": 1}},
}

BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "a misspelt value": ({"registy": {}}, "", "'registy' was unexpected"),
    "a misspelt value inside": ({"hooks": {"replica": 2}}, "hooks", "'replica' was unexpected"),
    "mode": ({"imageCache": {"spec": {"mode": "Maybe"}}}, "imageCache.spec.mode", "'Maybe' is not one of"),
    # In YAML an unquoted On is true.
    "mode without quotes": ({"imageCache": {"spec": {"mode": True}}}, "imageCache.spec.mode", "True is not one of"),
    "a field that no ImageCache has": ({"imageCache": {"spec": {"modus": "On"}}}, "imageCache.spec", "'modus' was"),
    "retention": ({"imageCache": {"spec": {"retention": "30 days"}}}, "imageCache.spec.retention", "does not match"),
    "delivery": ({"imageCache": {"spec": {"delivery": "Mail"}}}, "imageCache.spec.delivery", "is not one of"),
    "no replicas": ({"shield": {"replicas": 0}}, "shield.replicas", "less than the minimum"),
    "storage": ({"registry": {"storage": "NFS"}}, "registry.storage", "'NFS' is not one of"),
    "a bucket as a URL": ({"registry": {"s3": {"bucket": "s3://images"}}}, "registry.s3.bucket", "does not match"),
    "a section without content": ({"registry": None}, "registry", "None is not of type 'object'"),
    "a size": ({"registry": {"volume": {"size": "50 GB"}}}, "registry.volume.size", "does not match"),
    "a spool's size": ({"shield": {"spool": {"size": "10G"}}}, "shield.spool.size", "does not match"),
    "a registry with a scheme": ({"image": {"registry": "https://r.example"}}, "image.registry", "does not match"),
    "a registry that ends in a slash": ({"image": {"registry": "r.example/"}}, "image.registry", "does not match"),
    "a tag in the repository": ({"image": {"repository": "team/kuik:1.2"}}, "image.repository", "does not match"),
    "a tag that is a number": ({"image": {"tag": 1.2}}, "image.tag", "1.2 is not of type 'string'"),
    "a pull secret as pods have it": (
        {"image": {"pullSecrets": [{"name": "a"}]}},
        "image.pullSecrets.0",
        "not of type",
    ),
    "a label's value": ({"labels": {"team": "our own"}}, "labels.team", "does not match"),
    "a node selector": ({"proxy": {"nodeSelector": {"gpu": True}}}, "proxy.nodeSelector.gpu", "True is not of type"),
    "an amount": ({"proxy": {"resources": {"limits": {"memory": "lots"}}}}, "proxy.resources.limits.memory", "lots"),
    "a priority class": ({"hooks": {"priorityClassName": "System Critical"}}, "hooks.priorityClassName", "does not"),
    "a storage class": ({"registry": {"volume": {"storageClassName": "a/b"}}}, "registry.volume.storageClassName", ""),
    "a variable": ({"shield": {"env": [{"name": "A", "value": 1}]}}, "shield.env.0.value", "1 is not of type"),
    "a network": ({"networkPolicies": {"nodes": ["10.0.0.0/33"]}}, "networkPolicies.nodes.0", "does not match"),
    "what becomes of pods": ({"uninstall": {"pods": "evict"}}, "uninstall.pods", "'evict' is not one of"),
    "digest": ({"image": {"digest": "latest"}}, "image.digest", "does not match"),
    "surge of nothing": ({"proxy": {"maxSurge": "0%"}}, "proxy.maxSurge", "does not match"),
    "a node's address": ({"networkPolicies": {"nodes": ["10.0.0.1"]}}, "networkPolicies.nodes.0", "does not match"),
    "a DNS that is a name": (
        {"clusterDNS": {"addresses": ["dns.example"]}},
        "clusterDNS.addresses.0",
        "does not match",
    ),
    "a domain with a dot at its end": ({"clusterDNS": {"domain": "c.local."}}, "clusterDNS.domain", "does not match"),
    "an endpoint": ({"registry": {"s3": {"endpoint": "minio:9000"}}}, "registry.s3.endpoint", "does not match"),
    "a path": ({"mirror": {"configPath": "certs.d"}}, "mirror.configPath", "does not match"),
    "resources": ({"proxy": {"resources": {"request": {}}}}, "proxy.resources", "'request' was unexpected"),
}


@pytest.mark.parametrize("name", GOOD)
def test_good_values_are_taken(name: str) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(with_values(GOOD[name]))] == []


@pytest.mark.parametrize("name", BAD)
def test_bad_values_are_refused_by_their_place(name: str) -> None:
    said, place, words = BAD[name]
    errors = {".".join(map(str, one.absolute_path)): one.message for one in VALIDATOR.iter_errors(with_values(said))}
    errors |= {
        ".".join(map(str, inner.absolute_path)): inner.message
        for one in VALIDATOR.iter_errors(with_values(said))
        for inner in one.context or ()
    }
    assert words in errors[place], errors


def test_copies_schema_and_table_are_current() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "chart.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_value_is_documented_and_has_its_place_in_the_schema() -> None:
    assert list(chart.undocumented()) == []
    assert len(list(chart.rows())) > 60
    assert _unknown(VALUES, SCHEMA) == []


def _unknown(values: dict[str, Any], schema: dict[str, Any], path: str = "") -> list[str]:
    found = []
    for name, value in values.items():
        one = schema.get("properties", {}).get(name)
        if one is None:
            found.append(f"{path}{name}")
        elif isinstance(value, dict) and "properties" in one:
            found += _unknown(value, one, f"{path}{name}.")
    return found


def test_the_dashboard_shows_metrics_that_are_there() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text()
    documented = set(re.findall(r"^\| `(kuik_\w+)`", page, re.MULTILINE))
    board = json.loads((chart.CHART / "files" / "dashboard.json").read_text())
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    named = {re.sub(r"_bucket$", "", name) for expression in asked for name in re.findall(r"\bkuik_\w+", expression)}
    assert len(named) > 12
    assert named <= documented


def test_versions_agree() -> None:
    from telemetry.version import VERSION

    described = yaml.safe_load((chart.CHART / "Chart.yaml").read_text())
    assert described["appVersion"] == VERSION
