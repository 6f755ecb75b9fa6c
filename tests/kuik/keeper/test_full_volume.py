"""The keeper on a volume that takes no byte and no file more: it makes room all the same, and deletes nothing early."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from kuik.keeper.history import History
from kuik.keeper.kept import Place
from kuik.keeper.memory import Memory
from registry.durable import write_whole
from tests.dataplane.disk import SmallDisk
from tests.kuik.keeper.test_keeper import LOOSE, NGINX, NOW, Scene, image


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    made = SmallDisk(tmp_path / "volume", 1 << 18, files=40)
    yield made
    made.close()


@pytest.fixture
def folder(tmp_path: Path, disk: SmallDisk) -> Path:
    return tmp_path / "volume" / ".kuik"


@pytest.fixture
def scene(folder: Path) -> Scene:
    made = Scene(folder, f"{NGINX}:1", LOOSE)
    made.cluster.listing = [image()]
    return made


def history(*names: str) -> History:
    seen = History().after([Place(NGINX, name) for name in names], NOW, 60.0)
    return seen.after([Place(NGINX, name) for name in names], NOW + timedelta(seconds=60), 60.0)


def test_it_sweeps_and_collects_where_nothing_can_be_written(scene: Scene, disk: SmallDisk, folder: Path) -> None:
    disk.fill()
    scene.lives(0.9)
    assert LOOSE in scene.left, "not before the grace"
    scene.lives(0.6)
    assert scene.left == {f"{NGINX}:1"}
    assert scene.writer.collections == 1
    assert not folder.exists(), "nothing was written"
    disk.free()
    scene.lives(1)
    assert (folder / "sweeps.json").exists(), "what is remembered is written when there is room"


def test_one_keeper_has_it_though_no_file_can_say_so(disk: SmallDisk, folder: Path) -> None:
    disk.fill()
    first, second, third = Memory(folder), Memory(folder), Memory(folder)
    assert first.own()
    assert not second.own()
    disk.free()
    assert not third.own(), "the file can be made by now, and the first has none"
    first.release()
    assert third.own()
    assert not second.own()
    third.release()
    disk.fill()
    assert second.own(), "the file is there"
    assert not first.own()


def test_what_could_not_be_written_is_not_read_as_it_was_before(disk: SmallDisk, folder: Path) -> None:
    memory = Memory(folder)
    memory.keep(history("wanted-again"))
    disk.fill()
    grown = history(*(f"loose-{number}" for number in range(500)))
    memory.keep(grown)
    assert memory.history() == grown
    assert Memory(folder).history() == History(), "the next process begins anew"


def test_a_file_that_found_no_room_leaves_none_taken(disk: SmallDisk, folder: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        write_whole(folder.parent / "much", b"x" * (1 << 19))
    assert list(folder.parent.iterdir()) == []


def test_a_new_process_on_a_full_volume_deletes_nothing_early(scene: Scene, disk: SmallDisk) -> None:
    disk.fill()
    for _ in range(4):
        scene.lives(0.8)
        scene.keeper = scene.started()
    assert LOOSE in scene.left, "no process was there for the grace"
    scene.lives(1.5)
    assert scene.left == {f"{NGINX}:1"}
