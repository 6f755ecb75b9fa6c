"""The scenarios of tests/scenarios against a real API server."""

from collections.abc import Iterator

import pytest

from tests.cluster.conftest import install
from tests.cluster.rig.control_plane import ControlPlane
from tests.scenarios.cluster import Cluster
from tests.scenarios.remote import Loop
from tests.scenarios.test_cache import *  # noqa: F403 - the same scenarios, with the fixture below
from tests.scenarios.test_doubt import doubt, life
from tests.scenarios.test_images import *  # noqa: F403
from tests.scenarios.test_refresh import *  # noqa: F403


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    """An API server of its own, and what calls the hooks there."""
    plane = ControlPlane(tmp_path_factory.mktemp("scenes")).start()
    install(plane)
    yield Loop(plane)
    plane.stop()


@pytest.fixture
def scene(stage: Loop) -> Iterator[Cluster]:
    """A cluster without an ImageCache."""
    stage.begin()
    yield stage
    stage.clear()


@pytest.mark.parametrize("fault", ["garbage", "one related kind less"])
def test_doubt_deletes_nothing(scene: Cluster, fault: str) -> None:
    doubt(scene, fault)


@pytest.mark.timeout(300)
def test_the_loop_may_end_after_a_write(scene: Loop) -> None:
    wanted = life(scene)
    writes = scene.cut.writes
    for last in (writes // 3, writes - 2):  # in memory after each
        scene.clear()
        scene.begin()
        scene.cut.after = last
        assert life(scene) == wanted, f"the loop ended after write {last} of {writes}"
