"""Archives of strangers: what is read of them, and what is refused with words and without harm."""

import tarfile
from pathlib import Path

import pytest

from kuik.archive.reading import Archive
from registry.errors import Corrupt
from registry.reference import Reference
from tests.kuik.archive.tars import LAYOUT, archive, blobs_of, files_of, index_of, link
from tests.rig.images import image, multi_platform

ONE = image("one")
NAME = Reference.parse("docker.io/library/one:1")


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_form_of_tar_is_read(tmp_path: Path, form: int) -> None:
    files = [(f"./{name}", content) for name, content in files_of({str(NAME): ONE})]
    long = ("x" * 90 + "/" + "é" * 40, b"passed over") if form != tarfile.USTAR_FORMAT else ("x", b"")
    found = Archive.open(archive(tmp_path / "a.tar", [*files, long], format=form))
    assert found.manifest(NAME).raw == ONE.raw
    for digest, content in ONE.blobs.items():
        with found.open_blob(NAME, digest, 3) as pieces:
            assert b"".join(pieces) == content[3:]


def test_names_of_other_tools_count_where_they_are_whole(tmp_path: Path) -> None:
    index = index_of({str(NAME): ONE}, "io.containerd.image.name")
    found = Archive.open(archive(tmp_path / "a.tar", [LAYOUT, index, *blobs_of(ONE)]))
    assert list(found.images) == [NAME]
    files = files_of({"latest": ONE})
    assert not Archive.open(archive(tmp_path / "b.tar", files)).images
    assert list(Archive.open(tmp_path / "b.tar", NAME).images) == [NAME]


BAD = {
    "up": ([("../evil", b"x")], (), "leads out of it"),
    "absolute": ([("/etc/cron.d/evil", b"x")], (), "leads out of it"),
    "symlink": ([], (link("blobs/sha256/x"),), "is a link"),
    "hard link": ([], (link("x", tarfile.LNKTYPE),), "is a link"),
    "device": ([], (link("x", tarfile.CHRTYPE),), "is a link"),
    "blob twice": ([blobs_of(ONE)[0]], (), "twice"),
    "index twice": ([index_of({"docker.io/library/two:1": ONE})], (), "twice"),
    "the same under another spelling": ([(f"./{blobs_of(ONE)[0][0]}", b"x")], (), "twice"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_could_do_harm_is_refused(tmp_path: Path, name: str) -> None:
    files, more, said = BAD[name]
    path = archive(tmp_path / "a.tar", [*files_of({str(NAME): ONE}), *files], *more)
    with pytest.raises(Corrupt, match=said):
        Archive.open(path)


def test_a_header_that_claims_much_costs_nothing(tmp_path: Path) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 30
    path = tmp_path / "a.tar"
    with path.open("wb") as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        file.truncate(2 << 30)  # a sparse file: it takes no room on the disk
    with pytest.raises(Corrupt, match="more than 65536 bytes"):
        Archive.open(path)


@pytest.mark.parametrize("cut", [100, 512, 700, 1536, 5000, -1024, -600])
def test_an_archive_that_was_cut_off_is_told(tmp_path: Path, cut: int) -> None:
    whole = archive(tmp_path / "a.tar", files_of({str(NAME): ONE}), format=tarfile.USTAR_FORMAT).read_bytes()
    end = len(whole.rstrip(b"\0")) // 512 * 512 + 512
    (tmp_path / "b.tar").write_bytes(whole[:cut] if cut > 0 else whole[: end + cut])
    with pytest.raises(Corrupt):
        Archive.open(tmp_path / "b.tar")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"no archive " * 100, "no tar archive"),
        (b"\x1f\x8b" + b"x" * 600, "compressed with gzip"),
        (b"\0" * 2048, "empty"),
    ],
)
def test_other_files_are_told_by_what_they_are(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(Corrupt, match=said):
        Archive.open(tmp_path / "a.tar")


def test_archives_that_are_no_layout(tmp_path: Path) -> None:
    saved = archive(tmp_path / "a.tar", [("manifest.json", b"[]")])
    with pytest.raises(Corrupt, match="docker save"):
        Archive.open(saved)
    huge = [LAYOUT, ("index.json", b" " * (17 << 20))]
    with pytest.raises(Corrupt, match="at most"):
        Archive.open(archive(tmp_path / "b.tar", huge))
    two = [LAYOUT, index_of({"a.example/a:1": ONE, "a.example/b:1": multi_platform("b")})]
    with pytest.raises(Corrupt, match="holds 2 images"):
        Archive.open(archive(tmp_path / "c.tar", two), NAME)
