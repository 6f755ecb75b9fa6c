"""The scenarios of tests/scenarios with the real Metacontroller on a real API server."""

from collections.abc import Iterator

import pytest

from tests.cluster.conftest import install
from tests.cluster.rig.control_plane import ControlPlane
from tests.scenarios.cluster import Cluster
from tests.scenarios.real import Real
from tests.scenarios.test_cache import *  # noqa: F403 - the same scenarios, with the fixture below
from tests.scenarios.test_doubt import FAULTS, doubt
from tests.scenarios.test_images import *  # noqa: F403
from tests.scenarios.test_refresh import *  # noqa: F403

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def stage(real_metacontroller: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    """An API server of its own, and what calls the hooks there."""
    plane = ControlPlane(tmp_path_factory.mktemp("scenes")).start()
    install(plane)
    running = Real(plane)
    yield running
    running.stop()
    plane.stop()


@pytest.fixture
def scene(stage: Real) -> Iterator[Cluster]:
    """A cluster without an ImageCache."""
    stage.begin()
    yield stage
    stage.clear()


@pytest.mark.parametrize("fault", FAULTS)
def test_doubt_deletes_nothing(scene: Cluster, fault: str) -> None:
    doubt(scene, fault)
