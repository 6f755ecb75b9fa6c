"""One volume, two, one again: two real keepers, each with a registry and a volume of its own, and no upstream."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from kuik.keeper.distribution import Filesystem
from registry.manifest import Manifest
from tests.cluster.rig.kept import REPOSITORY, Scene, pulling
from tests.cluster.test_truth import LOOKS, begin, report, verified
from tests.dataplane.rig.distribution import reader, writer
from tests.rig.processes import listening, wait_until

pytestmark = pytest.mark.timeout(300)
IMAGES = 3


@pytest.fixture
def second(scene: Scene, tmp_path: Path) -> Iterator[Scene]:
    """The volume that scaling up adds: empty, with a writer that its keeper starts."""
    folder = tmp_path / "second"
    storage = Filesystem(str(folder / "storage"))
    document = writer(folder / "writer", storage)
    with reader(folder / "reader", storage) as copies:
        added = Scene(scene.plane, folder, document, copies, volume="kuik-registry-1")
        yield added
        added.stop()


def lose(volume: Scene) -> None:
    """What a node does that dies with its disk."""
    volume.kill()
    volume.reader.kill()
    wait_until(lambda: not listening(volume.writer.port), "the writer ends with its keeper")
    shutil.rmtree(volume.folder / "storage")


def whole(volume: Scene, images: list[Manifest]) -> bool:
    return all(
        report(volume, f"app{number}").get("state") == "Whole" and volume.pulled(image, str(number))
        for number, image in enumerate(images)
    )


def test_scaling_up_and_losing_one_volume_after_the_other_loses_nothing(scene: Scene, second: Scene) -> None:
    images = [scene.push(f"app{number}", str(number), sparse=number == 1) for number in range(IMAGES)]
    for number, image in enumerate(images):
        scene.keep(
            f"app{number}",
            f"{REPOSITORY}:{number}",
            image,
            requestedPlatforms=["linux/amd64"] if image.is_index else [],
        )
    begin(scene, "--sibling", second.reader.url)
    for number in range(IMAGES):
        verified(scene, f"app{number}")

    second.start(*LOOKS, "--sibling", scene.reader.url)
    for number in range(IMAGES):
        verified(second, f"app{number}")
    assert whole(second, images)

    with pulling(lambda: all(second.pulled(image, str(number)) for number, image in enumerate(images))) as seen:
        lose(scene)
        assert whole(second, images)
        scene.reader.start()
        scene.start(*LOOKS, "--sibling", second.reader.url)
        wait_until(lambda: whole(scene, images), f"the new disk is filled: {scene.log[-2000:]}", 60)
        for number in range(IMAGES):
            verified(scene, f"app{number}")
    assert seen
    assert all(seen), "what the other volume has is pulled all the time"

    lose(second)
    assert whole(scene, images)
