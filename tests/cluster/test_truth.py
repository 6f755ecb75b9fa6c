"""What happens to bytes behind the registry's back is found, said and healed: real registries, a real API server."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kuik.keeper.distribution import Filesystem
from kuik.keeper.volume import BLOBS, file_of
from registry.digest import Digest
from registry.manifest import OCI_MANIFEST, Manifest, parse_manifest
from registry.reference import Reference
from tests.cluster.rig.api import Object
from tests.cluster.rig.control_plane import ControlPlane
from tests.cluster.rig.kept import REPOSITORY, Scene
from tests.dataplane.rig.distribution import READERS_TOKEN, Distribution, reader
from tests.dataplane.rig.plane import plane
from tests.dataplane.rig.registry import Registry
from tests.rig.images import image as an_image
from tests.rig.processes import wait_until
from tests.rig.upstream import Upstream

BUILT = an_image("damaged, then copied")
pytestmark = pytest.mark.timeout(300)
LOOKS = ("--look-every", "1")


def report(scene: Scene, name: str) -> Object:
    text = scene.image(name)["metadata"].get("annotations", {}).get(f"volume.kuik.dev/{scene.volume}")
    return json.loads(text) if text else {}


def until(scene: Scene, name: str, holds: Callable[[Object], Any], what: str) -> None:
    try:
        wait_until(lambda: bool(holds(report(scene, name))), what, 40)
    except AssertionError as error:
        raise AssertionError(f"{error}: {report(scene, name)}\n{scene.log[-2000:]}") from None


def verified(scene: Scene, name: str) -> None:
    until(scene, name, lambda found: found.get("verified"), "every byte was hashed")
    assert report(scene, name)["state"] == "Whole"


def storage(scene: Scene) -> Path:
    return scene.folder / "storage"


def part_of(image: Manifest, which: str) -> Digest:
    """The digest of a part of an image that is no index, by what it is."""
    parts = {"manifest": image.digest, "layer": image.layers[0].digest}
    return parts[which] if which in parts else next(one.digest for one in (image.config,) if one)


def begin(scene: Scene, *more: str) -> None:
    scene.writer.stop()
    # A week's period in two seconds: what is due is hashed again at every look.
    scene.plane.kubectl(
        "patch", "imagecache", "default", "--type=merge", "-p", '{"spec":{"keeper":{"verifyEvery":"2s"}}}'
    )
    scene.start(*LOOKS, *more)


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def emptied(path: Path) -> None:
    path.write_bytes(b"\0" * 40)


def lost(path: Path) -> None:
    shutil.rmtree(path.parent)


def foldered(path: Path) -> None:
    path.unlink()
    path.mkdir()


def unreadable(path: Path) -> None:
    """As a disk that gives an error: for everybody, whoever runs this."""
    path.unlink()
    path.symlink_to(path.name)


Harm = Callable[[Path], None]
FILES: dict[str, tuple[str, Harm]] = {
    "a flipped byte": ("layer", flipped),
    "a truncated file": ("layer", cut),
    "a lost blob": ("layer", lost),
    "a flipped config": ("config", flipped),
    "a lost config": ("config", lost),
    "a flipped manifest": ("manifest", flipped),
    "a manifest of nothing": ("manifest", emptied),
    "a lost manifest": ("manifest", lost),
    "a folder for a blob": ("layer", foldered),
    "an unreadable blob": ("layer", unreadable),
    "an unreadable manifest": ("manifest", unreadable),
}
DAMAGE = (*FILES, "a wiped volume")


def harm(scene: Scene, image: Manifest, damage: str) -> None:
    """Do to the volume what disks and people do."""
    if damage == "a wiped volume":
        (storage(scene) / "docker").rename(scene.folder / "wiped")  # at once: who heals must not be in between
        return
    which, work = FILES[damage]
    work(file_of(storage(scene), part_of(image, which)))


def untag(scene: Scene) -> None:
    scene.client(write=True).delete(Reference(scene.writer.host, REPOSITORY, "1"))


@pytest.fixture
def sibling(tmp_path: Path) -> Iterator[Distribution]:
    """Another volume's reader, in whose storage is whatever was put there."""
    with reader(tmp_path / "sibling", Filesystem(str(tmp_path / "other"))) as other:
        yield other


def mirrored(scene: Scene) -> None:
    """The other volume holds what this one does."""
    shutil.copytree(storage(scene) / "docker", scene.folder / "other" / "docker", dirs_exist_ok=True)


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_healed_from_the_other_volume(scene: Scene, sibling: Distribution, damage: str) -> None:
    image = scene.push("app", "1")
    mirrored(scene)
    scene.keep("app", f"{REPOSITORY}:1", image)
    begin(scene, "--sibling", sibling.url)
    verified(scene, "app")
    before = report(scene, "app")["verified"]
    harm(scene, image, damage)

    def again() -> bool:
        return scene.pulled(image, "1") and report(scene, "app").get("state") == "Whole"

    until(scene, "app", lambda found: again() and found.get("verified", "") > before, "it is whole again")
    assert "whole" not in report(scene, "app").get("message", "")
    assert READERS_TOKEN not in scene.log


@pytest.mark.parametrize("damage", DAMAGE)
def test_without_another_volume_it_is_said_and_a_copy_brings_it_back(scene: Scene, damage: str) -> None:
    image = scene.push("app", "1")
    scene.keep("app", f"{REPOSITORY}:1", image)
    begin(scene)
    verified(scene, "app")
    harm(scene, image, damage)
    until(scene, "app", lambda found: found["state"] in ("Damaged", "Missing"), "it is found")
    assert not scene.pulled(image, "1"), "nobody is given what is wrong"
    again = scene.push("app", "1")  # as a copy Job does, which finds what is missing
    assert again.digest == image.digest
    assert scene.pulled(image, "1")
    until(scene, "app", lambda found: found["state"] == "Whole", "it is whole again")


def test_a_copy_after_damage_was_found_brings_the_right_bytes(scene: Scene, upstream: Upstream, tmp_path: Path) -> None:
    name = upstream.push(BUILT, "team/app", "1")
    registry = Registry(scene.writer, (scene.reader,))
    with plane(tmp_path / "plane", registry, upstream) as running:
        assert running.copy(name)["digest"] == str(BUILT.digest)
        scene.keep("app", name, parse_manifest(BUILT.raw, OCI_MANIFEST))
        begin(scene)
        verified(scene, "app")
        layer, content = max(BUILT.blobs.items(), key=lambda blob: len(blob[1]))
        path = file_of(storage(scene), layer)
        flipped(path)
        until(scene, "app", lambda found: found["state"] == "Damaged", "it is found")
        # A copy that found it there would leave it as it is: so the keeper removes it before it says anything.
        assert not path.exists()
        assert running.copy(name)["digest"] == str(BUILT.digest)
        assert path.read_bytes() == content
        until(scene, "app", lambda found: found["state"] == "Whole" and found.get("verified"), "it is whole again")
        upstream.stop()
        running.shield.kill()
        base = f"/v2/{upstream.host.replace(':', '__')}/team/app"
        assert running.proxy.get(f"{base}/manifests/1").body == BUILT.raw
        assert running.proxy.get(f"{base}/blobs/{layer}").body == content


def test_a_lost_tag_needs_nobody(scene: Scene) -> None:
    image = scene.push("app", "1")
    scene.keep("app", f"{REPOSITORY}:1", image)
    begin(scene)
    verified(scene, "app")
    untag(scene)
    wait_until(lambda: scene.pulled(image, "1"), "the tag is there again", 40)


def test_a_new_volume_is_filled_from_its_sibling_sparse_indexes_too(scene: Scene, sibling: Distribution) -> None:
    images = [scene.push(f"app{number}", str(number), sparse=number % 2 == 1) for number in range(4)]
    mirrored(scene)
    shutil.rmtree(storage(scene) / "docker")
    for number, image in enumerate(images):
        # Of a sparse index one platform was copied.
        wanted = ["linux/amd64"] if image.is_index else []
        scene.keep(f"app{number}", f"{REPOSITORY}:{number}", image, requestedPlatforms=wanted)
    assert (storage(scene) / BLOBS).exists() is False
    begin(scene, "--sibling", sibling.url)
    for number, image in enumerate(images):
        verified(scene, f"app{number}")
        assert scene.pulled(image, str(number))


def test_what_was_removed_on_demand_stays_away(scene: Scene, sibling: Distribution) -> None:
    image = scene.push("app", "1")
    mirrored(scene)
    scene.keep("app", f"{REPOSITORY}:1", image)
    begin(scene, "--sibling", sibling.url)
    verified(scene, "app")
    scene.plane.kubectl("annotate", "cachedimage", "app", "kuik.dev/remove=true")
    until(scene, "app", lambda found: found["state"] == "Removed", "it is removed")
    scene.plane.kubectl("annotate", "cachedimage", "app", "look=again")
    with pytest.raises(AssertionError):
        wait_until(lambda: scene.pulled(image, "1"), "it comes back", 5)


def test_the_volumes_own_memory_survives_a_restart(scene: Scene, installed: ControlPlane) -> None:
    image = scene.push("app", "1")
    scene.keep("app", f"{REPOSITORY}:1", image)
    begin(scene)
    verified(scene, "app")
    scene.kill()
    scene.start(*LOOKS)
    verified(scene, "app")
    harm(scene, image, "a flipped byte")
    until(scene, "app", lambda found: found["state"] == "Damaged", "it is found after a restart as before")

    def said() -> bool:
        events = scene.plane.api.request("GET", "api/v1/events")["items"]
        return any(one["reason"] == "FoundDamaged" and "kuik-registry-0: " in one["message"] for one in events)

    wait_until(said, "an event tells of it", 10)
