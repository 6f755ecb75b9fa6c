"""A change of policies on a real API server: planned, applied, and the cluster does what the plan said."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hooks.facts import Settings
from kube.client import Api
from kuik.__main__ import main
from kuik.driver.controllers import load
from kuik.driver.loop import Driver
from kuik.driver.remote import Remote
from kuik.local.documents import written
from kuik.local.hooks import LocalHooks
from tests.cluster.rig.control_plane import ControlPlane
from tests.cluster.rig.workloads import cron_job, deployment, image_cache, namespace, pod
from tests.kuik.plan.world import folder, policy, rule

NS, SYSTEM = "planned", "planned-system"
POLICIES = Path(__file__).parents[2] / "policies"
MANAGED = "clustercachepolicies,cachepolicies,cachedimages,imageinventories,imagecaches"


def kuik(plane: ControlPlane, *words: object, stdin: str = "") -> Result:
    return CliRunner().invoke(main, [*map(str, words), "--kubeconfig", str(plane.kubeconfig())], input=stdin)


@pytest.fixture(scope="module")
def workloads(installed: ControlPlane) -> Iterator[ControlPlane]:
    """For all tests: it takes an API server long to be rid of a namespace."""
    given = [
        namespace(NS),
        namespace(SYSTEM),
        deployment(NS, "web", "nginx:1.27", "registry.vendor.example/app:stable"),
        cron_job(NS, "nightly", "redis:7"),
        deployment(SYSTEM, "agent", "redis:7", "ghcr.io/agent/agent:2"),
    ]
    installed.kubectl("apply", "-f", "-", stdin=written(given))
    yield installed
    installed.kubectl("delete", "namespace", NS, SYSTEM, "--wait=false")


@pytest.fixture
def shop(workloads: ControlPlane) -> Iterator[ControlPlane]:
    workloads.kubectl("apply", "-f", "-", stdin=written([image_cache()]))
    yield workloads
    workloads.kubectl("delete", MANAGED, "-A", "--all", "--wait=true")


def settle(plane: ControlPlane) -> dict[str, Any]:
    """Let the stages decide over the API server's objects; the CachedImages by their image."""
    remote = Remote(Api.from_kubeconfig(str(plane.kubeconfig())))
    remote.look()
    stages = [one for one in load() if one.stage in ("inventory", "imagecache")]
    Driver(remote, stages, LocalHooks(Settings()), lambda: datetime.now(UTC)).settle()
    return {one["spec"]["image"]: one["spec"] for one in plane.api.list("CachedImage")}


def test_the_cluster_does_what_the_plan_said(shop: ControlPlane, tmp_path: Path) -> None:
    before = settle(shop)
    assert len(before) == 4
    git = folder(
        tmp_path / "policies",
        agents=policy("agents", rule("agents", "Ignore", namespaces=["*-system"], images=["ghcr.io/*"], enforced=True)),
        vendor=policy("pinned", rule("vendor", "Cache", images=["registry.vendor.example/*"], retention="7d"), ns=NS),
    )
    (git / "base").mkdir()
    (git / "base" / "long.yaml").write_text((POLICIES / "keep-base-images-for-long" / "policy.yaml").read_text())
    done = kuik(shop, "policy", "plan", "--to", git, "-o", "json", "--detailed-exitcode")
    assert done.exit_code == 2, done.output
    planned = json.loads(done.stdout)
    exported = tmp_path / "inventory.json"
    exported.write_text(kuik(shop, "policy", "inventory").stdout)
    again = CliRunner().invoke(main, ["policy", "plan", "--to", str(git), "--inventory", str(exported), "-o", "json"])
    assert json.loads(again.stdout) == planned, "what was exported says the same"
    shop.kubectl("apply", "-R", "-f", str(git))
    after = settle(shop)
    changes = {one["image"]: one for one in planned["images"]}
    assert {image: one["action"] for image, one in changes.items()} == {
        "ghcr.io/agent/agent:2": "expire",
        "docker.io/library/nginx:1.27": "terms",
        "docker.io/library/redis:7": "terms",
        "registry.vendor.example/app:stable": "terms",
    }
    assert after.keys() == before.keys() == changes.keys()
    for image, spec in after.items():
        assert ("unusedSince" in spec) is (changes[image]["action"] == "expire"), image
        assert spec["retention"] == changes[image]["after"]["retention"], image
    done = kuik(shop, "policy", "plan", "--to", git, "--detailed-exitcode")
    assert (done.exit_code, "Nothing changes" in done.output) == (0, True), done.output
    (why,) = json.loads(kuik(shop, "policy", "why", "nightly", "-n", NS, "-o", "json").stdout)
    assert why["terms"]["retention"] == f"{after[why['image']]['retention']} by ClusterCachePolicy/base-images/official"


def test_what_could_start_from_the_clusters_cache(shop: ControlPlane) -> None:
    settle(shop)
    for one in shop.api.list("CachedImage"):
        if "nginx" in one["spec"]["image"]:
            condition = {"type": "Cached", "status": "True", "reason": "Copied", "message": ""}
            condition |= {"lastTransitionTime": "2026-01-01T00:00:00Z"}
            said = {"phase": "Cached", "digest": "sha256:" + "1" * 64, "conditions": [condition]}
            shop.api.patch(one, {"status": {**said, "access": {"visibility": "Public"}}}, "status")
    given = [deployment(NS, "new", "nginx:1.27"), pod(NS, "other", "redis:7")]
    done = kuik(shop, "check", "-", "-o", "json", stdin=written(given))
    assert done.exit_code == 1, done.output
    found = {one["workload"]: one.get("reason") for one in json.loads(done.stdout)}
    assert found == {f"{NS}/Deployment/new": None, f"{NS}/Pod/other": "NotCached"}
    assert kuik(shop, "check", "-", stdin=written(given[:1])).exit_code == 0
    shop.kubectl("patch", "imagecache", "default", "--type=merge", "-p", '{"spec":{"mode":"Off"}}')
    assert "ModeOff" in kuik(shop, "check", "-", stdin=written(given[:1])).output
