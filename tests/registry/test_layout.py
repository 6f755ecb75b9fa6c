"""The image layout folder: names, atomic changes, what is refused."""

import json
import os
import threading
from pathlib import Path

import pytest

from registry.digest import Digest
from registry.errors import Corrupt, NoPlatform, NotFound
from registry.layout import Layout, NotALayout
from registry.manifest import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, Platform, parse_manifest
from registry.reference import Reference
from tests.rig.images import BuiltImage, image, index, multi_platform

NGINX = Reference.parse("nginx:1.25")
AMD64 = Platform("linux", "amd64")
ARM64 = Platform("linux", "arm64")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "store")


def keep(
    layout: Layout, built: BuiltImage, reference: Reference, *, leave_out: frozenset[Digest] = frozenset()
) -> None:
    """Store an image as a copy would, except for the digests to leave out."""
    with layout.copying():
        for digest, blob in built.blobs.items():
            if digest not in leave_out:
                layout.blobs.put(digest, blob)
        for digest, (_, raw) in built.manifests.items():
            if digest not in leave_out:
                layout.blobs.put(digest, raw)
        layout.tag(reference, parse_manifest(built.raw, built.media_type))


def test_a_new_layout_is_an_image_layout(layout: Layout) -> None:
    assert json.loads((layout.root / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    assert json.loads((layout.root / "index.json").read_bytes()) == {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [],
    }


def test_a_name_is_kept_in_the_annotation(layout: Layout) -> None:
    built = image("a")
    keep(layout, built, NGINX)
    (entry,) = json.loads((layout.root / "index.json").read_bytes())["manifests"]
    assert entry == {
        "mediaType": built.media_type,
        "digest": str(built.digest),
        "size": len(built.raw),
        "annotations": {"org.opencontainers.image.ref.name": "docker.io/library/nginx:1.25"},
    }


@pytest.mark.parametrize(
    "name", ["nginx:1.25", "reg:5000/a/b:x", f"reg.example/a@sha256:{'0' * 64}", "localhost/a/b__c:_1"]
)
def test_references_come_back_as_they_were(layout: Layout, name: str) -> None:
    reference = Reference.parse(name)
    built = image("a")
    reference = reference.with_digest(built.digest) if reference.digest else reference
    keep(layout, built, reference)
    again = Layout(layout.root)
    assert list(again.references()) == [reference]
    found = again.resolve(reference)
    assert found is not None
    assert (found.digest, found.media_type, found.size) == (built.digest, built.media_type, len(built.raw))


def test_a_tag_moves_and_goes(layout: Layout) -> None:
    keep(layout, image("a"), NGINX)
    keep(layout, image("b"), NGINX)
    assert layout.references() == {NGINX: parse_manifest(image("b").raw).descriptor}
    assert layout.untag(NGINX)
    assert not layout.untag(NGINX)
    assert layout.resolve(NGINX) is None
    assert layout.references() == {}


def test_tags_are_exact(layout: Layout) -> None:
    keep(layout, image("a"), NGINX)
    for other in ("nginx:1.2", "nginx", "reg:5000/library/nginx:1.25", "other:1.25"):
        assert layout.resolve(Reference.parse(other)) is None


def test_a_digest_resolves_to_all_that_names_lead_to(layout: Layout) -> None:
    built = multi_platform("m")
    inner = index([built])  # an index in an index
    keep(layout, inner, NGINX)
    for digest, (media_type, raw) in inner.manifests.items():
        found = layout.resolve(NGINX.with_digest(digest))
        assert found is not None
        assert (found.media_type, found.size) == (media_type, len(raw))
        assert layout.manifest(digest).raw == raw


def test_what_no_name_leads_to_is_not_served(layout: Layout) -> None:
    built, orphan = image("a"), image("orphan")
    keep(layout, built, NGINX)
    layout.blobs.put(orphan.digest, orphan.raw)
    assert layout.resolve(NGINX.with_digest(orphan.digest)) is None
    layer = next(iter(built.blobs))
    assert layout.resolve(NGINX.with_digest(layer)) is None


def test_an_absent_child_is_not_served_until_it_comes(layout: Layout) -> None:
    built = multi_platform("m")
    nested = index([built])
    child = next(digest for digest in built.manifests if digest != built.digest)
    keep(layout, nested, NGINX, leave_out=frozenset({built.digest, child}))
    assert layout.resolve(NGINX.with_digest(child)) is None
    keep(layout, nested, NGINX)
    assert layout.resolve(NGINX.with_digest(child)) is not None


def test_what_was_lost_from_the_disk_is_not_served(layout: Layout) -> None:
    built = multi_platform("m")
    keep(layout, built, NGINX)
    for digest in built.manifests:
        layout.blobs.remove(digest)
        assert layout.resolve(NGINX.with_digest(digest)) is None
    assert layout.resolve(NGINX) is None


def test_docker_media_types_stay(layout: Layout) -> None:
    built = multi_platform("m", docker=True)
    keep(layout, built, NGINX)
    found = layout.resolve(NGINX)
    assert found is not None
    assert found.media_type == DOCKER_LIST
    child = next(digest for digest in built.manifests if digest != built.digest)
    assert layout.manifest(child).media_type == DOCKER_MANIFEST


def test_a_manifest_that_does_not_say_its_type_keeps_the_one_it_came_with(layout: Layout) -> None:
    document = {key: value for key, value in json.loads(image("a").raw).items() if key != "mediaType"}
    manifest = parse_manifest(json.dumps(document).encode(), DOCKER_MANIFEST)
    layout.tag(NGINX, manifest)
    assert layout.manifest(manifest.digest).media_type == DOCKER_MANIFEST


def test_missing_names_what_is_not_there(layout: Layout) -> None:
    built = image("a")
    layer, config = sorted(built.blobs)[:2]
    keep(layout, built, NGINX)
    assert layout.missing(NGINX) == ()
    layout.blobs.remove(layer)
    os.truncate(layout.blobs.path(config), 1)
    assert set(layout.missing(NGINX)) == {layer, config}
    with pytest.raises(NotFound, match=r"other:1 is not in the store"):
        layout.missing(Reference.parse("other:1"))


def test_missing_looks_at_the_wanted_platforms_only(layout: Layout) -> None:
    amd64, arm64 = (image("m", platform=platform) for platform in ("linux/amd64", "linux/arm64"))
    keep(layout, index([amd64, arm64]), NGINX, leave_out=frozenset({arm64.digest, *arm64.blobs}))
    assert layout.missing(NGINX, frozenset({AMD64})) == ()
    assert layout.missing(NGINX, frozenset({ARM64})) == (arm64.digest,)
    assert layout.missing(NGINX) == (arm64.digest,)
    with pytest.raises(NoPlatform, match=r"offers linux/amd64, linux/arm64; wanted is windows/amd64"):
        layout.missing(NGINX, frozenset({Platform("windows", "amd64")}))


def test_a_damaged_manifest_is_an_error(layout: Layout) -> None:
    built = image("a")
    keep(layout, built, NGINX)
    layout.blobs.path(built.digest).write_bytes(b"{" + built.raw[1:-1] + b"!")
    with pytest.raises(Corrupt):
        layout.manifest(built.digest)
    with pytest.raises(NotFound):
        layout.manifest(Digest.of(b"nothing"))


def test_a_digest_names_only_its_manifest(layout: Layout) -> None:
    reference = NGINX.with_digest(Digest.of(b"other"))
    with pytest.raises(Corrupt, match="cannot name"):
        layout.tag(reference, parse_manifest(image("a").raw))
    assert layout.references() == {}


def test_entries_of_other_tools_stay(layout: Layout) -> None:
    built = image("a")
    foreign = {
        "mediaType": built.media_type,
        "digest": str(built.digest),
        "size": len(built.raw),
        "annotations": {"org.opencontainers.image.ref.name": "latest", "vendor": "x"},
    }
    (layout.root / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [foreign], "extra": 1}))
    keep(layout, image("b"), NGINX)
    document = json.loads((layout.root / "index.json").read_bytes())
    assert foreign in document["manifests"]
    assert document["extra"] == 1
    assert list(layout.references()) == [NGINX]


@pytest.mark.parametrize(
    "content",
    [
        "not json",
        "[]",
        "{}",
        '{"manifests": [1]}',
        '{"manifests": [{"digest": "sha256:0", "size": 1}]}',
        '{"manifests": [{"size": -1}]}',
    ],
)
def test_a_damaged_index_is_an_error_and_stays_as_it_is(layout: Layout, content: str) -> None:
    (layout.root / "index.json").write_text(content)
    for attempt in (layout.references, lambda: layout.resolve(NGINX), lambda: layout.untag(NGINX), layout.collect):
        with pytest.raises(Corrupt, match=r"index\.json"):
            attempt()
    assert (layout.root / "index.json").read_text() == content


def test_an_index_that_vanished_is_not_made_anew_beside_blobs(layout: Layout) -> None:
    keep(layout, image("a"), NGINX)
    (layout.root / "index.json").unlink()
    with pytest.raises(Corrupt, match=r"lost its index\.json"):
        layout.references()
    with pytest.raises(Corrupt, match=r"has blobs but no index\.json"):
        Layout(layout.root)


def test_opening_again_changes_nothing(layout: Layout) -> None:
    keep(layout, image("a"), NGINX)
    before = (layout.root / "index.json").read_bytes()
    assert list(Layout(layout.root).references()) == [NGINX]
    assert (layout.root / "index.json").read_bytes() == before


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"")
    with pytest.raises(NotALayout, match=r"holds 'holiday\.jpg' but no oci-layout file"):
        Layout(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


@pytest.mark.parametrize("marker", ['{"imageLayoutVersion": "2.0.0"}', "{}", "rubbish"])
def test_a_layout_of_another_version_is_refused(tmp_path: Path, marker: str) -> None:
    (tmp_path / "oci-layout").write_text(marker)
    with pytest.raises(NotALayout, match="oci-layout"):
        Layout(tmp_path)


def test_kuiks_own_folders_may_be_there_first(tmp_path: Path) -> None:
    for folder in ("state", "spool"):
        (tmp_path / folder).mkdir()
    for left_over in (".lock-run", ".oci-layout.new"):
        (tmp_path / left_over).touch()
    assert Layout(tmp_path).references() == {}


def test_another_process_change_is_seen(layout: Layout) -> None:
    other = Layout(layout.root)
    for number in range(50):  # faster than the clock of a file system ticks
        reference = Reference.parse(f"nginx:{number % 2}")
        built = image(number % 3)
        keep(other, built, reference)
        found = layout.resolve(reference)
        assert found is not None
        assert found.digest == built.digest


def test_the_time_of_the_index_only_grows(layout: Layout) -> None:
    """Readers tell a change by it, also where the clock stands still or was set back."""
    file = layout.root / "index.json"
    ahead = file.stat().st_mtime_ns + 3600 * 10**9
    os.utime(file, ns=(ahead, ahead))
    keep(layout, image("a"), NGINX)
    keep(layout, image("b"), NGINX)
    assert file.stat().st_mtime_ns == ahead + 2


def test_many_writers_lose_no_name(layout: Layout) -> None:
    built = parse_manifest(image("a").raw)
    names = [Reference.parse(f"nginx:{number}") for number in range(32)]

    def tag_some(part: int) -> None:
        own = Layout(layout.root)
        for name in names[part::4]:
            own.tag(name, built)

    threads = [threading.Thread(target=tag_some, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert set(layout.references()) == set(names)


def test_the_index_is_read_again_only_when_it_changed(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(layout, image("a"), NGINX)
    layout.resolve(NGINX)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} was read"))
        assert layout.resolve(NGINX)
    keep(Layout(layout.root), image("b"), NGINX)
    found = layout.resolve(NGINX)
    assert found is not None
    assert found.digest == image("b").digest
