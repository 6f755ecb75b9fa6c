"""`kuik cache export` and `import`: over an air gap and back, with the real client beside."""

import hashlib
import json
import random
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from kuik.__main__ import main
from kuik.archive.reading import Archive
from kuik.archive.sources import LayoutSource
from kuik.archive.writing import Busy, Writing
from registry.copy import CopyOptions, copy
from registry.digest import Digest
from registry.errors import Corrupt, RegistryError, Unreachable
from registry.layout import Layout
from registry.manifest import Manifest, parse_manifest
from registry.reference import Reference
from tests.kuik.archive.tars import archive, blobs_of, files_of
from tests.rig import skopeo
from tests.rig.images import BuiltImage, image, multi_platform
from tests.rig.upstream import Upstream

A, B = Reference.parse("docker.io/library/a:1"), Reference.parse("reg.example:5000/team/b:2.0")
IMAGES = {A: multi_platform("a"), B: image("b", layer_size=300_000)}


def kuik(*words: object) -> Result:
    return CliRunner().invoke(main, ["cache", *map(str, words)])


def keep(folder: Path, images: dict[Reference, BuiltImage]) -> Layout:
    layout = Layout(folder)
    for reference, built in images.items():
        for name, content in blobs_of(built):
            layout.blobs.put(Digest.parse(name.removeprefix("blobs/").replace("/", ":")), content)
        layout.tag(reference, parse_manifest(built.raw, built.media_type))
    return layout


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return keep(tmp_path / "store", IMAGES).root


def exported(store: Path, file: Path, *words: object) -> Path:
    done = kuik("export", *(words or ("--all",)), "--store", store, "-o", file)
    assert done.exit_code == 0, done.output
    assert not file.with_name(f"{file.name}.part").exists()
    return file


def test_from_store_to_store(store: Path, tmp_path: Path) -> None:
    file = exported(store, tmp_path / "images.tar")
    done = kuik("import", file, "--store", tmp_path / "other")
    assert done.exit_code == 0, done.output
    found = Layout(tmp_path / "other")
    assert {name: root.digest for name, root in found.references().items()} == {
        name: built.digest for name, built in IMAGES.items()
    }
    assert not any(found.missing(name) for name in IMAGES)
    assert exported(tmp_path / "other", tmp_path / "again.tar").read_bytes() == file.read_bytes(), "nothing differs"


@pytest.mark.needs("skopeo")
def test_skopeo_reads_what_was_exported_and_kuik_what_skopeo_wrote(store: Path, tmp_path: Path) -> None:
    file = exported(store, tmp_path / "images.tar")
    for name, built in IMAGES.items():
        skopeo.run("copy", "--all", "--preserve-digests", f"oci-archive:{file}:{name}", f"dir:{tmp_path / 'out'}")
        assert hashlib.sha256((tmp_path / "out" / "manifest.json").read_bytes()).hexdigest() == built.digest.hex
    assert skopeo.inspect(f"oci-archive:{file}:{B}")["Digest"] == str(IMAGES[B].digest)
    theirs = tmp_path / "theirs.tar"
    skopeo.run("copy", "--all", f"oci:{store}:{A}", f"oci-archive:{theirs}:{A}")
    done = kuik("import", theirs, "--store", tmp_path / "other")
    assert done.exit_code == 0, done.output
    found = Layout(tmp_path / "other").references()
    assert {name: root.digest for name, root in found.items()} == {A: IMAGES[A].digest}


def test_chosen_images_and_platforms(store: Path, tmp_path: Path) -> None:
    file = exported(store, tmp_path / "a.tar", "a:1", "--platform", "linux/arm64")
    assert len(Archive.open(file).blobs) == 5, "index, manifest, config, layers of one platform"
    done = kuik("import", file, "--store", tmp_path / "other")
    assert done.exit_code == 0, done.output
    layout = Layout(tmp_path / "other")
    assert layout.resolve(A) is not None
    sparse = exported(tmp_path / "other", tmp_path / "b.tar")
    assert sparse.read_bytes() == file.read_bytes(), "what a store keeps of an image is exported"
    refused = kuik("import", file, "--store", tmp_path / "other", "--platform", "linux/s390x")
    assert (refused.exit_code, "NoPlatform" in refused.output) == (1, True)


@pytest.mark.parametrize("blob", range(3))
def test_a_damaged_blob_names_nothing(tmp_path: Path, blob: int) -> None:
    files = dict(files_of({str(B): IMAGES[B]}))
    name = blobs_of(IMAGES[B])[blob][0]
    files[name] = files[name][:-1] + bytes([files[name][-1] ^ 1])
    done = kuik("import", archive(tmp_path / "bad.tar", files.items()), "--store", tmp_path / "other")
    assert (done.exit_code, "Corrupt" in done.output) == (1, True)
    assert not Layout(tmp_path / "other").references()
    del files[name]
    done = kuik("import", archive(tmp_path / "less.tar", files.items()), "--store", tmp_path / "other")
    assert (done.exit_code, name.rpartition("/")[2] in done.output) == (1, True)
    assert not Layout(tmp_path / "other").references()


class Breaking:
    """A store that dies after so many bytes."""

    def __init__(self, layout: Layout, left: int) -> None:
        self._source = LayoutSource(layout)
        self.left = left
        self.served = 0

    def manifest(self, reference: Reference) -> Manifest:
        return self._source.manifest(reference)

    @contextmanager
    def open_blob(self, reference: Reference, digest: Digest, start: int = 0) -> Iterator[Iterable[bytes]]:
        with self._source.open_blob(reference, digest, start) as pieces:
            yield self._some(pieces)

    def _some(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for whole in pieces:
            for piece in (whole[at : at + 10_000] for at in range(0, len(whole), 10_000)):
                self.left -= len(piece)
                if self.left < 0:
                    raise Unreachable("the source is gone")
                self.served += len(piece)
                yield piece


def test_an_export_goes_on_in_the_middle_of_a_blob(store: Path, tmp_path: Path) -> None:
    whole = exported(store, tmp_path / "whole.tar").read_bytes()
    file, served = tmp_path / "images.tar", 0
    for _ in range(40):
        source = Breaking(Layout(store), 65_000)
        with Writing(file) as writing:
            try:
                for name in sorted(IMAGES):
                    copy(name, source, writing.target(), CopyOptions(parallel=1))
                writing.finish()
            except Unreachable:
                assert not file.exists()
            served += source.served
        if file.exists():
            break
    assert file.read_bytes() == whole
    assert served == sum(len(content) for built in IMAGES.values() for content in built.blobs.values())


def test_an_export_goes_on_wherever_it_was_cut_and_whatever_was_damaged(store: Path, tmp_path: Path) -> None:
    whole = exported(store, tmp_path / "whole.tar").read_bytes()
    file, part, chance = tmp_path / "images.tar", tmp_path / "images.tar.part", random.Random(7)  # noqa: S311 - the same cuts each time
    for _ in range(25):
        left = bytearray(whole[: chance.randrange(512, len(whole))])
        if chance.random() < 0.5 and len(left) > 4096:
            left[chance.randrange(2048, len(left))] ^= 0xFF
        part.write_bytes(left)
        assert exported(store, file).read_bytes() == whole


def test_another_export_in_the_same_file_leaves_nothing_behind(store: Path, tmp_path: Path) -> None:
    first = exported(store, tmp_path / "b.tar", str(B))
    first.rename(tmp_path / "images.tar.part")
    assert (
        exported(store, tmp_path / "images.tar", "a:1").read_bytes()
        == exported(store, tmp_path / "a.tar", "a:1").read_bytes()
    )


def test_two_exports_and_files_of_others(store: Path, tmp_path: Path) -> None:
    with Writing(tmp_path / "x.tar"), pytest.raises(Busy):
        Writing(tmp_path / "x.tar")
    (tmp_path / "y.tar.part").write_bytes(b"somebody's thesis" * 100)
    with pytest.raises(Corrupt, match="move it away"):
        Writing(tmp_path / "y.tar")
    assert (tmp_path / "y.tar.part").read_bytes().startswith(b"somebody's")
    with pytest.raises(RegistryError, match="no-such"):
        Writing(tmp_path / "no-such" / "x.tar")


def test_an_import_goes_on_with_what_is_there(store: Path, tmp_path: Path) -> None:
    file = exported(store, tmp_path / "images.tar")
    assert kuik("import", file, "--store", tmp_path / "other").exit_code == 0
    before = {path: path.stat().st_ino for path in (tmp_path / "other" / "blobs").rglob("*") if path.is_file()}
    layout = Layout(tmp_path / "other")
    layout.untag(A)
    assert kuik("import", file, "--store", tmp_path / "other").exit_code == 0
    assert {path: path.stat().st_ino for path in before} == before
    assert A in layout.references()


def test_a_registry_and_back(upstream: Upstream, store: Path, tmp_path: Path) -> None:
    file, url = exported(store, tmp_path / "images.tar"), f"http://{upstream.host}"
    done = kuik("import", file, "--registry", url)
    assert done.exit_code == 0, done.output
    kept = list(yaml.safe_load_all(done.stdout))
    assert [(one["kind"], one["spec"]["image"], one["spec"]["retain"]) for one in kept] == [
        ("CachedImage", str(name), True) for name in sorted(IMAGES)
    ]
    assert skopeo.raw_digest(f"{upstream.host}/reg.example__5000/team/b:2.0") == str(IMAGES[B].digest)
    upstream.forget_requests()
    assert kuik("import", file, "--registry", url).exit_code == 0
    assert not upstream.count("PUT", "/blobs/"), "what is there is passed over"
    back = tmp_path / "back.tar"
    done = kuik("export", A, B, "--registry", url, "-o", back)
    assert done.exit_code == 0, done.output
    assert back.read_bytes() == file.read_bytes()
    assert kuik("export", "nginx", "--registry", url, "-o", tmp_path / "none.tar").exit_code == 1
    assert not (tmp_path / "none.tar").exists()


def test_private_images_stay_private(upstream: Upstream, store: Path, tmp_path: Path) -> None:
    file, url = exported(store, tmp_path / "images.tar", str(B)), f"http://{upstream.host}"
    assert kuik("import", file, "--registry", url, "--private").exit_code == 0
    kept = "private/reg.example__5000/team/b"
    assert skopeo.raw_digest(f"{upstream.host}/{kept}:2.0") == str(IMAGES[B].digest)
    assert kuik("export", B, "--registry", url, "-o", tmp_path / "back.tar").exit_code == 0
    with tarfile.open(tmp_path / "back.tar") as tar:
        file_ = tar.extractfile("index.json")
        assert file_ is not None
        (entry,) = json.load(file_)["manifests"]
    assert entry["annotations"]["kuik.dev/private"] == "true"
    upstream.forget_requests()
    assert kuik("import", tmp_path / "back.tar", "--registry", url).exit_code == 0
    assert upstream.count("HEAD", f"/v2/{kept}/")
    assert not upstream.count("PUT", "/v2/reg.example"), "an archive remembers that an image is private"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("export", "a:1", "-o", "x"), "either --store DIR or --registry URL"),
        (
            ("export", "a:1", "-o", "x", "--store", ".", "--registry", "http://r"),
            "either --store DIR or --registry URL",
        ),
        (("export", "-o", "x", "--store", "."), "name the images to export, or --all"),
        (("export", "--all", "-o", "x", "--registry", "http://r:1"), "does not tell what it holds"),
        (("export", "UPPER/x", "-o", "x", "--registry", "http://r:1"), "lower case"),
        (("export", "a", "-o", "x", "--registry", "r:1"), "is not a URL"),
        (("import", "missing.tar", "--store", "."), "does not exist"),
    ],
)
def test_mistakes_have_words(
    words: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = kuik(*words)
    assert (done.exit_code, said in done.output) == (2, True), done.output
    assert not {path.name for path in tmp_path.iterdir()} - {"oci-layout", "index.json", "blobs", ".lock-index"}
