"""Manifests that no API server would take, and files that hold other things: local mode goes on."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hooks.facts import Settings
from kuik.driver.controllers import load
from kuik.driver.loop import Driver
from kuik.driver.objects import Objects
from kuik.local.documents import ManifestError, written
from kuik.local.hooks import LocalHooks
from kuik.local.manifests import parse
from kuik.local.secrets import pull_secrets
from kuik.local.workloads import cluster_objects
from tests.rig.manifests import deployment, pull_secret

POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": []}}


def names(text: str) -> list[str]:
    return [obj["metadata"]["name"] for obj in parse(text, "pods.yaml")]


@pytest.mark.parametrize(
    "other",
    [
        {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": ["a.yaml"]},
        {"apiVersion": "v1", "kind": "Config", "clusters": []},
        {"apiVersion": "v1", "kind": "PodList", "items": None},
        {"apiVersion": "v1", "kind": "List"},
        {"apiVersion": "v1", "kind": 5, "metadata": {"name": "x"}},
    ],
)
def test_what_runs_nothing_is_passed_over(other: dict[str, Any]) -> None:
    assert names(yaml.safe_dump_all([other, POD])) == ["a"]


@pytest.mark.parametrize("field", ["name", "namespace", "generateName"])
@pytest.mark.parametrize("value", [5, ["a"], {"a": "b"}])
def test_a_name_that_is_not_text_is_refused_by_its_field(field: str, value: object) -> None:
    with pytest.raises(ManifestError, match=f"Pod: metadata.{field} is not text"):
        names(json.dumps({**POD, "metadata": {"name": "a", field: value}}))


def test_lines_stay_lines() -> None:
    assert written([{"script": "a\nb\n"}]) == "script: |\n  a\n  b\n"


def test_generated_names_are_told_apart_and_stay_the_same() -> None:
    jobs = [
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"generateName": "job-"},
            "spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}},
        }
        for image in ("one", "two")
    ]
    keys = set(cluster_objects(jobs))
    assert len([key for key in keys if key.kind == "Pod"]) == 2
    assert set(cluster_objects(jobs)) == keys


ODD: st.SearchStrategy[Any] = st.sampled_from(
    [None, 5, True, 1.5, "", "text", "\ud800", [], [None], ["x"], [{}], {}, {"a": None}, {"uid": []}]
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, one in inner for place in places(one, (*path, key)))]


def with_value(document: Any, path: tuple[Any, ...], value: object) -> Any:
    if not path:
        return value
    if isinstance(document, dict):
        return {**document, path[0]: with_value(document[path[0]], path[1:], value)}
    return [with_value(one, path[1:], value) if at == path[0] else one for at, one in enumerate(document)]


OBJECTS: list[dict[str, Any]] = [
    deployment("web", "reg.test/web:1"),
    pull_secret("login", "reg.test", "user", "password"),
    {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": "job",
            "namespace": "team",
            "labels": {"a": "b"},
            "annotations": {"a": "b"},
            "ownerReferences": [{"kind": "CronJob", "name": "x", "controller": True, "uid": "1"}],
        },
        "spec": {
            "template": {
                "metadata": {"labels": {"a": "b"}, "annotations": {"kuik.dev/original-images": "{}"}},
                "spec": {
                    "imagePullSecrets": [{"name": "login"}],
                    "serviceAccountName": "robot",
                    "nodeSelector": {"a": "b"},
                    "initContainers": [{"name": "i", "image": "localhost:7439/reg.test/a:1"}],
                    "containers": [{"name": "c", "image": "reg.test/a:1", "imagePullPolicy": "Always"}],
                },
            }
        },
    },
    {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "robot", "namespace": "team"},
        "imagePullSecrets": [{"name": "login"}],
    },
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team", "labels": {"kuik.dev/cache": "false"}}},
    {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "other"},
        "type": "kubernetes.io/dockercfg",
        "stringData": {".dockercfg": "{}"},
    },
]
ODD_OBJECTS = st.sampled_from(OBJECTS).flatmap(
    lambda obj: st.builds(with_value, st.just(obj), st.sampled_from(places(obj)), ODD)
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(ODD_OBJECTS, min_size=1, max_size=3))
def test_no_manifest_ends_local_mode(odd: list[Any]) -> None:
    try:
        found = [obj for one in odd for obj in parse(json.dumps(one), "odd.json")]
    except ManifestError:
        return  # said in words
    pull_secrets(found)
    objects = Objects(lambda: datetime.now(UTC))
    for obj in cluster_objects(found).values():
        objects.put(obj)
    Driver(objects, load(), LocalHooks(Settings()), lambda: datetime.now(UTC)).settle()
