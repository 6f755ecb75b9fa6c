"""What linters say of the chart, and why what they still say may stay."""

import json
import re
import subprocess
import sys
from functools import cache
from typing import Any

import pytest
import yaml

from tests.charts.test_values import BAD
from tests.cluster.rig.helm import CHART, rendered
from tests.cluster.test_chart import SHAPES
from tests.rig.built import program

LEFT = {
    "container-image-pull-policy": "tags never move, and kuik itself must start while no registry answers",
    "container-ephemeral-storage-request-and-limit": "what goes to a node's disk is bounded by volumes",
    "container-security-context-user-group-id": "the image's user is 65532; where a cluster assigns users, it may",
}
"""Checks of kube-score that are not ours to meet, and why."""
LEFT_OF = {
    ("kuik-proxy", "pod-networkpolicy"): "it is on the host's network, where no policy holds",
    ("kuik-crds", "pod-networkpolicy"): "it lives for seconds and listens to nobody",
    ("kuik-uninstall", "pod-networkpolicy"): "it listens to nobody",
}
POD_NAME = "statefulset.kubernetes.io/pod-name"
"""The label that each pod of a StatefulSet gets of the cluster, so that no template shows it."""
EGRESS = "The pod does not have a matching egress NetworkPolicy"
"""Said of every pod: API server, name servers, upstream registries and object storage have addresses that nobody knows
when a chart is rendered."""


@pytest.mark.parametrize("shape", SHAPES)
def test_kube_score_finds_nothing_that_has_no_reason(shape: str) -> None:
    values = {**SHAPES[shape], "networkPolicies": {"enabled": True}}
    objects = [
        one for one in rendered(values=values) if not one["apiVersion"].startswith(("metacontroller", "kuik.dev"))
    ]
    for one in objects:
        if one["kind"] == "Service":
            one["spec"]["selector"].pop(POD_NAME, None)
    command = [program("kube-score"), "score", "-", "--output-format", "json", "--ignore-container-cpu-limit"]
    done = subprocess.run(command, input=yaml.safe_dump_all(objects), capture_output=True, text=True, check=False)
    found = [
        f"{one['object_name']}: {check['check']['id']}: {comment.get('path', '')} {comment['summary']}"
        for one in json.loads(done.stdout)
        for check in one["checks"]
        if not check["skipped"] and check["grade"] < 10
        if check["check"]["id"] not in LEFT and (one["object_meta"]["name"], check["check"]["id"]) not in LEFT_OF
        for comment in check["comments"] or ()
        if comment["summary"] != EGRESS
    ]
    assert found == []


@pytest.mark.parametrize("shape", SHAPES)
def test_a_busy_node_is_no_reason_to_kill(shape: str) -> None:
    """Whatever is asked whether it lives may be silent for two minutes, as where a hundred pods start at once."""
    for one in rendered(values=SHAPES[shape]):
        pod = one.get("spec", {}).get("template", {}).get("spec", {})
        for container in (*pod.get("containers", ()), *pod.get("initContainers", ())):
            if probe := container.get("livenessProbe"):
                assert probe["periodSeconds"] * probe.get("failureThreshold", 3) >= 120, container["name"]
                assert probe.get("timeoutSeconds", 1) >= 5, container["name"]


@pytest.mark.parametrize("shape", SHAPES)
def test_helm_finds_nothing(shape: str) -> None:
    command = [program("helm"), "lint", "--strict", str(CHART), "-f", "-"]
    done = subprocess.run(command, input=json.dumps(SHAPES[shape]), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def template(values: object, *words: str) -> "subprocess.CompletedProcess[str]":
    """`helm template` with values, whatever comes of it."""
    command = [program("helm"), "template", "kuik", str(CHART), "-f", "-", *words]
    return subprocess.run(command, input=json.dumps(values), capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", BAD)
def test_bad_values_are_refused_by_helm_too_by_their_place(name: str) -> None:
    values, place, _ = BAD[name]
    done = template(values)
    assert done.returncode != 0
    where = place and f"/{place.replace('.', '/')}"
    # helm takes what is null out before it looks.
    assert f"at '{where}'" in done.stderr or f"missing property '{place}'" in done.stderr


WORDS = {
    "a bucket without a name": ({"registry": {"storage": "S3"}}, "name the bucket that images are kept in"),
    "a bucket that is not used": ({"registry": {"s3": {"bucket": "images"}}}, "Set registry.storage to S3"),
    "a claim that is not used": ({"registry": {"volume": {"existingClaim": "a"}}}, "Set registry.storage to Shared"),
    "a section of comments": ({"imageCache": {"spec": None}}, "missing property 'spec'"),
    "a number taken away": ({"registry": {"replicas": None}}, "missing property 'replicas'"),
}


@pytest.mark.parametrize("name", WORDS)
def test_values_that_do_not_go_together_are_refused_in_words(name: str) -> None:
    values, said = WORDS[name]
    done = template(values)
    assert done.returncode != 0
    assert said in done.stderr
    assert "nil pointer" not in done.stderr


def test_no_value_takes_the_place_of_what_parts_know_one_another_by() -> None:
    """The API server refuses a key that is there twice, and YAML's readers take one of the two."""
    ours = {"app.kubernetes.io/name": "mine", "app.kubernetes.io/component": "mine", "kuik.dev/cache": "true"}
    part = {"nodeSelector": {"kubernetes.io/os": "linux", "disk": "ssd"}}
    values = {
        "labels": {**ours, "team": "a"},
        "namespace": {"create": True, "labels": {"pod-security.kubernetes.io/warn": "baseline", "kuik.dev/cache": "x"}},
        **dict.fromkeys(("hooks", "proxy", "shield", "registry"), part),
        "metrics": {"prometheusRule": {"enabled": True, "labels": {"team": "b", "app.kubernetes.io/name": "c"}}},
    }
    done = template(values)
    assert done.returncode == 0, done.stderr
    objects = {(one["kind"], one["metadata"]["name"]): one for one in yaml.load_all(done.stdout, Loader=Strict) if one}
    running = [one for (kind, _), one in objects.items() if kind in {"DaemonSet", "Deployment", "StatefulSet"}]
    assert len(running) == 4
    for found in running:
        pod = found["spec"]["template"]
        assert found["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
        assert pod["metadata"]["labels"]["app.kubernetes.io/name"] == "kube-image-keeper"
        assert (pod["metadata"]["labels"]["kuik.dev/cache"], pod["metadata"]["labels"]["team"]) == ("false", "a")
        assert pod["spec"]["nodeSelector"] == {"kubernetes.io/os": "linux", "disk": "ssd"}
    worn = objects["Namespace", "default"]["metadata"]["labels"]
    levels = [worn[f"pod-security.kubernetes.io/{name}"] for name in ("enforce", "warn", "audit")]
    assert levels == ["privileged", "baseline", "privileged"]
    assert objects["PrometheusRule", "kuik"]["metadata"]["labels"]["team"] == "b"


STORAGE = {
    "volumes": {"storage": "Volume", "replicas": 3},
    "shared": {"storage": "Shared", "replicas": 2},
    "claim": {"storage": "Shared", "volume": {"existingClaim": "mine"}},
    "s3": {"storage": "S3", "replicas": 2, "s3": {"bucket": "images"}},
}
PARTS = ("hooks", "proxy", "shield")


@pytest.mark.parametrize("storage", STORAGE)
@pytest.mark.parametrize("delivery", ["Webhook", "Mirror"])
@pytest.mark.parametrize("more", [False, True])
def test_options_go_together(storage: str, delivery: str, more: bool) -> None:
    """Whatever is chosen: what selects pods finds some, monitors find their ports, and URLs name replicas."""
    switched = {"enabled": more}
    monitors = {"serviceMonitor": switched, "prometheusRule": switched, "dashboard": switched}
    classes: Any = {name: {"priorityClassName": ""} for name in PARTS} if more else {}
    done = template(
        {
            "registry": STORAGE[storage],
            "imageCache": {"spec": {"delivery": delivery}},
            "networkPolicies": switched,
            "metrics": {"exposeProxies": more, **monitors},
            "priorityQuota": {"create": not more},
            **classes,
        }
    )
    assert done.returncode == 0, done.stderr
    objects = [one for one in yaml.load_all(done.stdout, Loader=Strict) if one]
    running = [one for one in objects if one["kind"] in {"Deployment", "StatefulSet", "DaemonSet"}]
    for one in objects:
        wanted = _selected(one)
        found = [each for each in running if wanted.items() <= each["spec"]["template"]["metadata"]["labels"].items()]
        assert found or not wanted, f"{one['kind']} {one['metadata']['name']} selects nothing"
        if pod := one.get("spec", {}).get("selector", {}).get(POD_NAME):
            assert pod in {
                f"{each['metadata']['name']}-{at}" for each in found for at in range(each["spec"]["replicas"])
            }
        for endpoint in one["spec"].get("podMetricsEndpoints", ()) if "spec" in one else ():
            assert endpoint["port"] in {port for each in found for port in _ports(each)}
    replicas = {one["metadata"]["name"]: one["spec"].get("replicas") for one in running}
    services = {one["metadata"]["name"] for one in objects if one["kind"] == "Service"}
    named = re.findall(r"http://([a-z0-9-]+)-(\d+)\.", done.stdout)
    assert len(named) > 3
    for name, number in named:
        assert int(number) < replicas[name]
        assert f"{name}-{number}" in services
    assert ("kuik.mirror" in done.stdout) == (delivery == "Mirror")
    given = {one["metadata"]["name"]: one["spec"]["template"]["spec"].get("priorityClassName") for one in running}
    assert given["kuik-proxy"] == (None if more else "system-node-critical")
    assert given["kuik-hooks"] == (None if more else "system-cluster-critical")


def _selected(obj: Any) -> dict[str, str]:
    """The labels by which an object finds pods."""
    spec = obj.get("spec", {})
    if obj["kind"] == "Service":
        return {label: value for label, value in spec["selector"].items() if label != POD_NAME}
    monitor = obj["kind"] in {"PodDisruptionBudget", "PodMonitor"}
    return dict(spec["selector"]["matchLabels"]) if monitor else {}


def _ports(workload: Any) -> set[str]:
    return {port["name"] for one in workload["spec"]["template"]["spec"]["containers"] for port in one.get("ports", ())}


class Strict(yaml.SafeLoader):
    """YAML of which no key may be there twice, as the API server has it."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"twice: {keys}"
        return super().construct_mapping(node, deep)


@cache
def help_of(*words: str) -> str:
    """What one of kuik's programs says of its options."""
    done = subprocess.run([sys.executable, "-m", *words, "--help"], capture_output=True, text=True, check=True)
    return done.stdout


def test_every_program_knows_the_options_that_it_is_given() -> None:
    seen = set()
    for values in SHAPES.values():
        for one in rendered(values=values):
            pod = one.get("spec", {}).get("template", {}).get("spec", {})
            for container in (*pod.get("initContainers", ()), *pod.get("containers", ())):
                words = [str(word) for word in container.get("args", ())]
                if not words:
                    continue  # the registry itself
                words = words[: words.index("--")] if "--" in words else words
                program_ = tuple(words[:2]) if words[1:2] == ["hold"] else (words[0],)
                options = {word.partition("=")[0] for word in words if word.startswith("--")}
                seen.add(program_[0])
                assert {option for option in options if option not in help_of(*program_)} == set(), program_
    assert {"hooks", "hooks.admission_server", "proxy", "proxy.shield", "kuik.keeper", "kuik.mirror"} <= seen
    assert "--sibling" in help_of("kuik.keeper")
