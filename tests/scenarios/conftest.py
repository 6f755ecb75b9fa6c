"""Scenarios run in memory here; tests/cluster runs the same ones against a real API server."""

import pytest

from tests.scenarios.cluster import Cluster
from tests.scenarios.looped import Memory


@pytest.fixture
def scene() -> Cluster:
    """A cluster with an ImageCache and nothing else."""
    return Memory()
