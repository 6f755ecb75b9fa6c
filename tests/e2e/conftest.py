"""A real node for the whole run. These tests run in a sandbox only: `make e2e`."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.rig.cluster import Cluster, folder
from tests.e2e.rig.install import Installed
from tests.e2e.rig.sandbox import FOLDER

KEPT = "KUIK_E2E_KEEP"
"""The variable that names a folder for what processes said, where something has failed."""
IMAGES = "KUIK_E2E_IMAGES"
"""The variable that names the archives of our image and of the registry's."""


def pytest_ignore_collect() -> bool | None:
    """Leave these tests out where they are not in a sandbox."""
    return None if FOLDER in os.environ else True


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A control plane, DNS and upstream registries, and node-1."""
    running = Cluster(folder()).start()
    try:
        running.node(1, *images())
        yield running
    finally:
        # Nothing is ended here: the kernel ends it with the sandbox, within a second.
        if request.session.testsfailed:
            _keep(running)


@pytest.fixture(scope="session")
def kuik(cluster: Cluster) -> Installed:
    """kuik, installed."""
    installed = Installed(cluster)
    try:
        installed.install()
    except BaseException:
        _keep(cluster)
        raise
    return installed


def images() -> list[Path]:
    """The archives that are loaded into every node: kuik's own images are there before it can help them."""
    return [Path(word) for word in os.environ.get(IMAGES, "").split(os.pathsep) if word]


def _keep(cluster: Cluster) -> None:
    """Copy logs and what the API server has to where they stay."""
    place = Path(os.environ.get(KEPT, "/tmp/kuik-e2e-failed"))
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for log in cluster.folder.glob("*/*.log"):
        shutil.copy(log, place / f"{log.parent.name}-{log.name}")
    for pods in cluster.folder.glob("node-*/pod-logs"):
        shutil.copytree(pods, place / pods.parent.name, symlinks=False, ignore_dangling_symlinks=True)
    kinds = "nodes,pods,events,deployments,daemonsets,jobs,imagecaches,imageinventories,cachedimages"
    for form in ("wide", "yaml"):
        done = cluster.plane.try_kubectl("get", kinds, "-A", "-o", form)
        (place / f"objects.{form}").write_text(done.stdout + done.stderr)
