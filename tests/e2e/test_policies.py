"""A policy in git: planned, applied by kustomize, and the node does what the plan said."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.rig.workloads import namespace
from tests.e2e.rig.images import runnable
from tests.e2e.rig.install import ROOT, Installed, proxied
from tests.e2e.rig.workload import Workloads
from tests.rig.processes import wait_until

SPACE = "ci-1"
LEFT, KEPT = "docker.io/library/policy-left:1", "docker.io/library/policy-kept:1"
POLICY = "policies/exclude-namespaces"


@pytest.fixture
def inside(kuik: Installed) -> Iterator[Workloads]:
    """Pods of a namespace that the policy is about; it and the policy are gone afterwards."""
    kuik.kubectl("apply", "-f", "-", stdin=json.dumps(namespace(SPACE)))
    account = ("get", "serviceaccount", "default", "-n", SPACE)
    wait_until(lambda: kuik.cluster.plane.try_kubectl(*account).returncode == 0, "the namespace has its account", 30)
    yield Workloads(kuik.cluster.plane, SPACE)
    kuik.kubectl("delete", "--ignore-not-found", "-k", str(ROOT / POLICY))
    kuik.kubectl("delete", "namespace", SPACE, "--wait=false")


def plan(kuik: Installed, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(kuik.command("policy", "plan", "--to", POLICY, "-o", "json", *words))
    return found


def spec(kuik: Installed, image: str) -> dict[str, Any]:
    return next(one["spec"] for one in kuik.get("ci") if one["spec"]["image"] == image)


def test_a_policy_in_git_does_what_its_plan_says(kuik: Installed, pods: Workloads, inside: Workloads) -> None:
    """`kuik policy plan` says whom an exclusion is about; applied by kustomize, new pods there keep their images."""
    upstream = kuik.cluster.upstreams["docker.io"]
    for name in ("left", "kept"):
        upstream.push(runnable(f"policy-{name}"), f"library/policy-{name}", "1")
    inside.run("first", "policy-left:1")
    pods.run("policy-kept", "policy-kept:1")
    inside.ready("first")
    pods.ready("policy-kept")
    for image in (LEFT, KEPT):
        kuik.cached(image)
    inside.delete("first")  # on a busy machine it may have pulled directly, as nobody knew its image in time
    inside.run("before", "policy-left:1")
    inside.ready("before")
    assert inside.image("before") == proxied("policy-left:1")
    planned = plan(kuik)
    assert [(one["image"], one["action"]) for one in planned["images"]] == [(LEFT, "expire")]
    (container,) = planned["workloads"]
    assert (container["workload"], container["after"]["rewritten"]) == (f"{SPACE}/Pod/before", False)
    running = inside.running()
    kuik.kubectl("apply", "-k", str(ROOT / POLICY))
    wait_until(lambda: "unusedSince" in spec(kuik, LEFT), "nothing uses its image any more", 60)
    assert "unusedSince" not in spec(kuik, KEPT)
    inside.run("after", "policy-left:1", pull="Always")
    inside.ready("after")
    assert inside.image("after") == "policy-left:1"
    pods.run("policy-kept-too", "policy-kept:1")
    assert pods.image("policy-kept-too") == proxied("policy-kept:1")
    assert running.items() <= inside.running().items(), "what ran goes on as it was"
    assert not plan(kuik)["changes"], "nothing is left to do"
    kuik.kubectl("delete", "-k", str(ROOT / POLICY))
    wait_until(lambda: "unusedSince" not in spec(kuik, LEFT), "its image is used again", 60)
    pods.delete("policy-kept", "policy-kept-too")
