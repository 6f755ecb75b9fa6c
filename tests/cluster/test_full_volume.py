"""A registry's volume without a byte left: its keeper starts, removes what is due and collects it, and copies go on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.errors import RegistryError
from tests.cluster.rig.kept import LAYER, REPOSITORY, Scene, begin, pulling
from tests.dataplane.disk import SmallDisk
from tests.rig.processes import wait_until

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """Under the storage of the scene, so it is asked for before that."""
    made = SmallDisk(tmp_path / "storage", 8 << 20, files=2000)
    yield made
    made.close()


def test_a_full_volume_gets_room_by_its_keeper_alone(disk: SmallDisk, scene: Scene) -> None:
    kept, loose = scene.push("kept", "1", sparse=True), scene.push("loose", "2")
    scene.keep("app", f"{REPOSITORY}:1", kept, requestedPlatforms=["linux/amd64"])
    disk.fill()
    with pytest.raises(RegistryError):
        scene.push("no room", "3")
    with pulling(lambda: scene.pulled(kept, "1")) as seen:
        begin(scene)
        wait_until(lambda: "freed" in scene.says(), f"garbage is collected: {scene.log[-1500:]}", 60)
    assert all(seen), "readers never notice"
    assert not scene.pulled(loose)
    assert scene.says()["freed"] >= LAYER // 2
    assert scene.keeper
    assert scene.keeper.poll() is None, "the same process all the time"
    assert "kept in this process alone" in scene.log
    disk.free()
    again = scene.push_when_it_takes("room", "3")
    assert scene.pulled(again, "3")
    assert scene.pulled(kept, "1")
