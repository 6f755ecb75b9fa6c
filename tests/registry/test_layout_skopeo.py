"""What the real client reads from the layout folder, and what it does not: the limits that layout.py names."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from registry.layout import Layout
from registry.manifest import parse_manifest
from registry.reference import Reference
from tests.rig import skopeo
from tests.rig.images import BuiltImage, image, multi_platform

pytestmark = pytest.mark.needs("skopeo")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "store")


def keep(layout: Layout, built: BuiltImage, name: str) -> str:
    for digest, content in [*built.blobs.items(), *((key, raw) for key, (_, raw) in built.manifests.items())]:
        layout.blobs.put(digest, content)
    reference = Reference.parse(name)
    layout.tag(reference, parse_manifest(built.raw, built.media_type))
    return f"oci:{layout.root}:{reference}"


def digest_in(folder: Path) -> str:
    return "sha256:" + hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "name", ["nginx:1.25", "reg:5000/a/b:v1.0_2", "reg.example/a-b/c_d.e", f"reg:5000/a@{image('a').digest}"]
)
def test_an_image_by_name(layout: Layout, tmp_path: Path, name: str) -> None:
    where = keep(layout, image("a"), name)
    keep(layout, image("b"), "other:1")
    skopeo.run("copy", "--preserve-digests", where, f"dir:{tmp_path / 'out'}")
    assert digest_in(tmp_path / "out") == str(image("a").digest)
    assert skopeo.inspect(where)["Digest"] == str(image("a").digest)


def test_an_index_whole_or_by_platform(layout: Layout, tmp_path: Path) -> None:
    built = multi_platform("m")
    where = keep(layout, built, "multi:1")
    skopeo.run("copy", "--all", "--preserve-digests", where, f"dir:{tmp_path / 'all'}")
    assert digest_in(tmp_path / "all") == str(built.digest)
    skopeo.run("--override-arch", "arm64", "copy", where, f"dir:{tmp_path / 'arm64'}")
    assert digest_in(tmp_path / "arm64") == str(image("m", platform="linux/arm64").digest)


@pytest.mark.parametrize("build", [image, multi_platform])
def test_docker_manifests_by_way_of_a_layout_of_their_own(
    layout: Layout, tmp_path: Path, build: Callable[..., BuiltImage]
) -> None:
    """An older skopeo looks for names among OCI entries only; of a single entry it takes whatever that is."""
    built = build("d", docker=True)
    keep(layout, built, "docker:1")
    keep(layout, image("a"), "oci:1")
    document = json.loads((layout.root / "index.json").read_bytes())
    document["manifests"] = [entry for entry in document["manifests"] if "/docker:1" in str(entry)]
    single = tmp_path / "single"
    single.mkdir()
    (single / "oci-layout").write_bytes((layout.root / "oci-layout").read_bytes())
    (single / "index.json").write_text(json.dumps(document))
    blobs = f"--src-shared-blob-dir={layout.root / 'blobs'}"
    skopeo.run("copy", "--all", "--preserve-digests", blobs, f"oci:{single}", f"dir:{tmp_path / 'out'}")
    assert digest_in(tmp_path / "out") == str(built.digest)
