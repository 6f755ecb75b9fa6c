"""The scenarios of tests/scenarios with the real Metacontroller on a real API server."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.scenarios.cluster import Cluster
from tests.scenarios.looped import Memory
from tests.scenarios.real import Real
from tests.scenarios.test_cache import *  # noqa: F403 - the same scenarios, with the fixture below
from tests.scenarios.test_doubt import FAULTS, doubt, life
from tests.scenarios.test_images import *  # noqa: F403
from tests.scenarios.test_prefetch import *  # noqa: F403
from tests.scenarios.test_refresh import *  # noqa: F403

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def scene(real: Real) -> Iterator[Cluster]:
    """A cluster without an ImageCache."""
    real.begin()
    yield real
    real.clear()


@pytest.mark.parametrize("fault", FAULTS)
def test_doubt_deletes_nothing(scene: Cluster, fault: str) -> None:
    doubt(scene, fault)


def test_metacontroller_makes_what_the_loop_makes(scene: Cluster) -> None:
    def ours(dump: dict[str, Any]) -> dict[str, Any]:
        """Without the inventories of namespaces that only a real cluster has."""
        kept = {"ImageInventory/shop", "ImageInventory/late"}
        return {name: one for name, one in dump.items() if not name.startswith("ImageInventory/") or name in kept}

    assert ours(life(scene)) == ours(life(Memory()))
