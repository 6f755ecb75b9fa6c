"""A real node for the whole run. These tests run in a sandbox only: `make e2e`."""

import os
from collections.abc import Iterator

import pytest

from tests.e2e.rig.cluster import Cluster, folder
from tests.e2e.rig.sandbox import FOLDER


def pytest_ignore_collect() -> bool | None:
    """Leave these tests out where they are not in a sandbox."""
    return None if FOLDER in os.environ else True


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A control plane, DNS and upstream registries, and node-1."""
    running = Cluster(folder()).start()
    running.node(1)
    yield running
    running.stop()
