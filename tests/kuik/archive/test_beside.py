"""Signatures and referrers go with an image from a registry over an air gap into another one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from registry.attached import fallback_tag
from registry.layout import Layout
from registry.reference import Reference
from tests.kuik.archive.test_archives import kuik
from tests.rig import skopeo
from tests.rig.images import image, index, multi_platform
from tests.rig.upstream import Upstream

NAME = Reference.parse("reg.example/team/app:1")
APP, OTHER = multi_platform("signed"), image("not signed")
CHILD = next(digest for digest in APP.manifests if digest != APP.digest)
BESIDE = {
    f"{fallback_tag(APP.digest)}.sig": image("signature of the index"),
    f"{fallback_tag(CHILD)}.att": image("attestation of a platform"),
    fallback_tag(APP.digest): index([image("bill of materials")]),
}


@pytest.fixture
def full(upstream: Upstream) -> Upstream:
    """A cluster's registry with an image, what is attached to it, and something that is attached to another one."""
    others = {"1": APP, "2": OTHER, f"{fallback_tag(OTHER.digest)}.sig": image("another's")}
    for tag, built in {**others, **BESIDE}.items():
        upstream.push(built, "reg.example/team/app", tag)
    return upstream


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Upstream]:
    other = Upstream(tmp_path / "other").start()
    yield other
    other.stop()


def test_what_is_attached_comes_along_from_registry_to_registry(
    full: Upstream, empty: Upstream, tmp_path: Path
) -> None:
    file = tmp_path / "images.tar"
    done = kuik("export", NAME, "--registry", f"http://{full.host}", "-o", file)
    assert done.exit_code == 0, done.output
    full.stop()
    done = kuik("import", file, "--registry", f"http://{empty.host}")
    assert done.exit_code == 0, done.output
    place = f"{empty.host}/reg.example/team/app"
    for tag, built in {"1": APP, **BESIDE}.items():
        assert skopeo.raw_digest(f"{place}:{tag}") == str(built.digest)
    kept = [one["spec"]["image"] for one in yaml.safe_load_all(done.stdout)]
    assert kept == [str(NAME)], "the rest is kept with it"
    file.unlink()
    again = kuik("export", NAME, "--registry", f"http://{empty.host}", "-o", file)
    assert again.exit_code == 0, again.output


def test_into_a_store_comes_the_image_alone(full: Upstream, tmp_path: Path) -> None:
    file = tmp_path / "images.tar"
    assert kuik("export", NAME, "--registry", f"http://{full.host}", "-o", file).exit_code == 0
    for words in ((), (NAME,)):
        assert kuik("import", file, *words, "--store", tmp_path / "store").exit_code == 0
        assert set(Layout(tmp_path / "store").references()) == {NAME}


def test_a_signature_that_is_lost_keeps_no_image_from_leaving(full: Upstream, empty: Upstream, tmp_path: Path) -> None:
    blobs = BESIDE[fallback_tag(APP.digest)].blobs
    lost = max(blobs, key=lambda digest: len(blobs[digest]))
    for path in full.folder.rglob(f"{lost.hex}/data"):
        path.unlink()
    file = tmp_path / "images.tar"
    done = kuik("export", NAME, "--registry", f"http://{full.host}", "-o", file)
    assert done.exit_code == 0, done.output
    assert "left out" in done.stderr
    done = kuik("import", file, "--registry", f"http://{empty.host}")
    assert done.exit_code == 0, done.output
    assert skopeo.raw_digest(f"{empty.host}/reg.example/team/app:{fallback_tag(APP.digest)}.sig")
