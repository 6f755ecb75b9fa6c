"""Images ahead of need on a real API server: what it lets in."""

import json
from datetime import UTC, datetime
from pathlib import Path

from hooks.prefetch_pod import Progress, pod
from hooks.prefetch_rules import Rule
from kube.duration import parse_duration
from tests.cluster.rig.control_plane import ControlPlane
from tests.rig.processes import wait_until

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SPACE = "prefetch-restricted"
EXAMPLE = Path(__file__).parents[2] / "policies" / "pull-images-ahead"


def test_pod_security_restricted_lets_the_pods_in(installed: ControlPlane) -> None:
    label = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE, "labels": label}}
    installed.kubectl("create", "-f", "-", stdin=json.dumps(space))
    rule = Rule("mine", SPACE, ("nginx:1",), {}, ({"operator": "Exists"},), parse_duration("24h"), 1, ("pull",))
    made = pod(rule, "node-1", "docker.io/library/nginx:1", Progress("work", NOW, NOW))
    words = ("create", "--dry-run=server", "-f", "-")
    there = ("get", "serviceaccount", "default", "-n", SPACE)
    wait_until(lambda: installed.try_kubectl(*there).returncode == 0, "the namespace has its account", 30)
    done = installed.try_kubectl(*words, stdin=json.dumps(made))
    assert (done.returncode, done.stderr) == (0, "")
    del made["spec"]["securityContext"]
    assert "violates PodSecurity" in installed.try_kubectl(*words, stdin=json.dumps(made)).stderr
    installed.kubectl("delete", "namespace", SPACE, "--wait=false")


def test_the_example_is_taken_as_it_stands(installed: ControlPlane) -> None:
    words = ("apply", "--dry-run=server", "--validate=strict", "-k", str(EXAMPLE))
    assert "clustercachepolicy.kuik.dev/ahead-of-need created" in installed.kubectl(*words)
