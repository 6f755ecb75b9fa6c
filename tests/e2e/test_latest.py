"""A tag that is pushed anew upstream: what pods then get is what the policy of its image says."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from hooks.conditions import condition
from tests.cluster.rig.api import Object
from tests.e2e.rig.images import runnable
from tests.e2e.rig.install import Installed
from tests.e2e.rig.workload import Workloads
from tests.rig.processes import wait_until

FOLLOWING = {"Ignore": False, "Warn": False, "Sync": True}
"""The refresh policies, and whether pods get what a tag names upstream now."""
SAID = {"Ignore": "NotChecked", "Warn": "Moved", "Sync": "Current"}
"""What `UpToDate` gives as its reason once the tag has moved."""


@pytest.fixture
def refreshed(kuik: Installed) -> Iterator[None]:
    """A policy for each image that is named after one, and a shield that looks at tags often."""
    rules: list[Any] = [
        {
            "name": f"latest-{mode.lower()}",
            "match": {"images": [f"docker.io/library/{_name(mode)}:*"]},
            "action": "Cache",
            "refresh": {"mode": mode, "interval": "1m"},
        }
        for mode in FOLLOWING
    ]
    policy = {
        "apiVersion": "kuik.dev/v1alpha1",
        "kind": "ClusterCachePolicy",
        "metadata": {"name": "latest"},
        "spec": {"rules": rules},
    }
    kuik.kubectl("apply", "-f", "-", stdin=json.dumps(policy))
    _patch(kuik, {"freshness": "1s"})
    yield
    _patch(kuik, {"freshness": "60s"})
    kuik.kubectl("delete", "clustercachepolicy", "latest")


@pytest.mark.timeout(600)
def test_a_moved_latest(refreshed: None, kuik: Installed, pods: Workloads) -> None:
    """`latest` moves: pods that always pull get the new one under Sync, else the one they know; upstream dead too."""
    upstream = kuik.cluster.upstreams["docker.io"]
    first = {mode: runnable(f"first-{mode}") for mode in FOLLOWING}
    second = {mode: runnable(f"second-{mode}") for mode in FOLLOWING}
    for mode, built in first.items():
        upstream.push(built, f"library/{_name(mode)}", "latest")
        pods.run(f"{mode.lower()}-before", _name(mode), node="node-1", pull="Always")
    for mode, built in first.items():
        assert _runs(pods, f"{mode.lower()}-before").endswith(str(built.digest))
        kuik.cached(f"docker.io/library/{_name(mode)}:latest")
    running = pods.running()

    for mode, built in second.items():
        upstream.push(built, f"library/{_name(mode)}", "latest")
        upstream.delete_manifest(f"library/{_name(mode)}", first[mode])
    wanted = {mode: (second if FOLLOWING[mode] else first)[mode] for mode in FOLLOWING}

    def start(when: str) -> None:
        for mode in FOLLOWING:
            pods.run(f"{mode.lower()}-{when}", _name(mode), node="node-1", pull="Always")
        for mode, built in wanted.items():
            assert _runs(pods, f"{mode.lower()}-{when}").endswith(str(built.digest)), mode

    start("moved")
    for mode in FOLLOWING:
        # Two looks a minute apart: the first has the shield ask, the second is told; and the shield may hear late.
        wait_until(lambda mode=mode: _says(kuik, mode) == SAID[mode], f"{mode}: {_says(kuik, mode)}", 200)  # type: ignore[misc]
    wait_until(lambda: _image(kuik, "Sync")["status"]["digest"] == str(second["Sync"].digest), "it is copied", 30)
    assert running.items() <= pods.running().items(), "what runs stays as it is"

    kuik.cluster.nodes[1].remove_images("/latest-")
    upstream.stop()
    try:
        start("dead")
        # The digest that the tag had is nowhere but in the cache.
        pods.run("sync-earlier", f"{_name('Sync')}@{first['Sync'].digest}", node="node-1", pull="Always")
        assert _runs(pods, "sync-earlier").endswith(str(first["Sync"].digest))
    finally:
        upstream.start()
    names = [f"{mode.lower()}-{when}" for mode in FOLLOWING for when in ("before", "moved", "dead")]
    pods.delete(*names, "sync-earlier")


def _name(mode: str) -> str:
    return f"latest-{mode.lower()}"


def _runs(pods: Workloads, name: str) -> str:
    """The digest that kubelet says the pod was started from."""
    return str(pods.ready(name)["status"]["containerStatuses"][0]["imageID"])


def _image(kuik: Installed, mode: str) -> Object:
    name = f"docker.io/library/{_name(mode)}:latest"
    (found,) = (one for one in kuik.get("ci") if one["spec"]["image"] == name)
    return found


def _says(kuik: Installed, mode: str) -> str:
    found = condition(_image(kuik, mode), "UpToDate")
    return str(found["reason"]) if found else ""


def _patch(kuik: Installed, spec: Mapping[str, Any]) -> None:
    kuik.kubectl("patch", "imagecache", "default", "--type=merge", "-p", json.dumps({"spec": spec}))
