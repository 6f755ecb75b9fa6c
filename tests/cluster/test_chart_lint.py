"""What linters say of the chart, and why what they still say may stay."""

import json
import subprocess
import sys
from functools import cache

import pytest
import yaml

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
EGRESS = "The pod does not have a matching egress NetworkPolicy"
"""Said of every pod: API server, name servers, upstream registries and object storage have addresses that nobody knows
when a chart is rendered."""


@pytest.mark.parametrize("shape", SHAPES)
def test_kube_score_finds_nothing_that_has_no_reason(shape: str) -> None:
    values = {**SHAPES[shape], "networkPolicies": {"enabled": True}}
    objects = [
        one for one in rendered(values=values) if not one["apiVersion"].startswith(("metacontroller", "kuik.dev"))
    ]
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
def test_helm_finds_nothing(shape: str) -> None:
    command = [program("helm"), "lint", "--strict", str(CHART), "-f", "-"]
    done = subprocess.run(command, input=json.dumps(SHAPES[shape]), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


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
