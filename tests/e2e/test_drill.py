"""`kuik drill`: what an outage would do, told without one."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.rig.cluster import PASSWORD, PRIVATE, USER
from tests.e2e.rig.images import runnable
from tests.e2e.rig.install import Installed
from tests.e2e.rig.workload import Workloads
from tests.rig.images import BuiltImage

_SPACE = "drilled"
_SECRET = f"{PRIVATE}/team/drilled:1"


@pytest.fixture
def running(kuik: Installed) -> Iterator[Workloads]:
    """Three workloads whose images are cached, one of them private."""
    for name in ("whole", "losing", "leaving"):
        kuik.cluster.upstreams["docker.io"].push(runnable(f"drilled {name}"), f"library/drilled-{name}", "1")
    kuik.cluster.upstreams[PRIVATE].push(runnable("drilled secret"), "team/drilled", "1")
    kuik.kubectl("create", "namespace", _SPACE)
    account = (f"--docker-server={PRIVATE}", f"--docker-username={USER}", f"--docker-password={PASSWORD}")
    kuik.kubectl("create", "secret", "docker-registry", "pull", "-n", _SPACE, *account)
    pods = Workloads(kuik.cluster.plane, _SPACE)
    for name in ("whole", "losing", "leaving"):
        pods.run(name, f"drilled-{name}:1", node="node-1")
    pods.run("seed", _SECRET, node="node-1", imagePullSecrets=[{"name": "pull"}])
    for name in ("whole", "losing", "leaving", "seed"):
        pods.ready(name)
    for name in ("whole", "losing", "leaving"):
        kuik.cached(f"docker.io/library/drilled-{name}:1")
    kuik.cached(_SECRET)
    kuik.proven(_SECRET)
    # One that shows what opens the image: the first was pulled as without kuik, before anything was proven.
    pods.run("secret", _SECRET, node="node-1", imagePullSecrets=[{"name": "pull"}])
    pods.ready("secret")
    yield pods
    kuik.kubectl("delete", "namespace", _SPACE, "--wait=false")


def test_a_drill_tells_who_would_not_survive(kuik: Installed, running: Workloads) -> None:
    """`kuik drill` reads images in use from the cache alone; then names who lost a blob or was left out by policy."""
    asked = _asked(kuik)
    before = running.running()
    code, well = drill(kuik)
    assert (code, set(well.values())) == (0, {"read"}), well
    assert len(well) == 5
    policy = {"name": "leaves", "action": "Ignore", "match": {"images": ["docker.io/library/drilled-leaving:*"]}}
    made = {"apiVersion": "kuik.dev/v1alpha1", "kind": "ClusterCachePolicy", "metadata": {"name": "drilled"}}
    running.create({**made, "spec": {"rules": [policy]}})
    lost = blob(kuik, runnable("drilled losing"))
    aside = lost.rename(lost.with_name("aside"))
    try:
        code, found = drill(kuik)
    finally:
        aside.rename(lost)
        kuik.kubectl("delete", "clustercachepolicy", "drilled")
    changed = {"drilled/Pod/losing": "Incomplete", "drilled/Pod/leaving": "ClusterCachePolicy/drilled/leaves"}
    assert (code, found) == (1, well | changed)
    assert _asked(kuik) == asked
    assert running.running() == before
    assert "kuik-drill" not in kuik.kubectl("get", "jobs", "-n", "kuik-system")


def _asked(kuik: Installed) -> int:
    """How many requests about these images upstream registries have had."""
    return sum("/drilled" in path for one in kuik.cluster.upstreams.values() for _, path, _ in one.requests())


def drill(kuik: Installed) -> tuple[int, dict[str, str]]:
    """How `kuik drill` ends, and of each workload why it would not survive, or that its image was read."""
    done = kuik.try_command("drill", "-n", _SPACE, "--all", "-o", "json")
    assert done.stdout, done.stderr
    said = {one["workload"]: one.get("reason") or "read" * one["read"] for one in json.loads(done.stdout)}
    return done.returncode, said


def blob(kuik: Installed, built: BuiltImage) -> Path:
    """The file of an image's own layer on the registry's volume."""
    *_, own = built.blobs
    (found,) = (kuik.cluster.folder / "volumes").glob(f"*/docker/registry/v2/blobs/sha256/{own.hex[:2]}/{own.hex}/data")
    return found
