"""One layout folder and many processes: writers, readers and collections at once. What is named is whole, always."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from registry.collect import StoreBusy
from registry.copy import copy
from registry.digest import Digest
from registry.errors import NotFound
from registry.layout import Layout
from registry.layout_target import LayoutTarget
from registry.manifest import parse_manifest
from registry.reference import Reference
from tests.registry.memory_source import MemorySource
from tests.rig.images import BuiltImage, image, index

ROOT = Path(__file__).parents[2]
IMAGES = 3
ROUNDS = 3
SECONDS = 120

PROGRAM = """
import sys
from pathlib import Path
from registry.layout import Layout
from tests.registry import test_layout_processes as deeds
layout = Layout(Path(sys.argv[1]))
print("here", flush=True)
print(getattr(deeds, sys.argv[2])(layout, sys.argv[3]), flush=True)
"""


def built(writer: str, number: int) -> BuiltImage:
    """Its own layers, and some that all the others have too."""
    common = image("common", layers=2, layer_size=30_000)
    return index([image(f"{writer}/{number}", layers=1, layer_size=30_000), common])


def kept(writer: str, number: int) -> str:
    return f"reg:5000/{writer}/kept:{number}"


def write(layout: Layout, writer: str) -> int:
    """Copy some images that stay, and between them some that go; how many copies that were."""
    source, done = MemorySource(), 0
    for turn in range(ROUNDS):
        for number in range(IMAGES):
            stays = source.add(built(writer, number), kept(writer, number))
            goes = source.add(built(writer, 100 * turn + number + 10), f"reg:5000/{writer}/goes:{number}")
            for reference in (goes, stays):
                copy(reference, source, LayoutTarget(layout))
                assert not layout.missing(reference), f"{reference} was named, and is not whole"
                done += 1
            layout.untag(goes)
    return done


def read(layout: Layout, _: str) -> int:
    """Look at everything that is named until the file `end` appears: bytes are right, and what stays is whole."""
    looks = 0
    while not (layout.root.parent / "end").exists():
        for reference in layout.references():
            stays = "/kept:" in str(reference)
            try:
                parts = layout.parts(reference)
                for blob in parts.blobs:
                    with layout.blobs.open(blob.digest) as file:
                        assert Digest.of(file.read()) == blob.digest
                looks += 1
            except NotFound:
                if stays:  # else its name was taken away meanwhile
                    raise
    return looks


def collect(layout: Layout, _: str) -> int:
    """Collect again and again, without a pause, until the file `end` appears; how often that was done."""
    done = 0
    while not (layout.root.parent / "end").exists():
        try:
            layout.collect(within=0.2)
            done += 1
        except StoreBusy:
            pass
    return done


@contextmanager
def doing(root: Path, deed: str, who: str = "") -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-c", PROGRAM, str(root), deed, who]
    started = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert started.stdout
        assert started.stdout.readline() == "here\n"
        yield started
    finally:
        started.kill()
        started.communicate()


def result(running: "subprocess.Popen[str]") -> int:
    said, trouble = running.communicate(timeout=SECONDS)
    assert running.returncode == 0, trouble
    return int(said)


@pytest.mark.timeout(300)
def test_writers_readers_and_collections_at_once(tmp_path: Path) -> None:
    root, writers = tmp_path / "store", ("one", "two", "three")
    with ExitStack() as all_of_them:
        others = [all_of_them.enter_context(doing(root, deed)) for deed in ("read", "read", "collect")]
        writing = [all_of_them.enter_context(doing(root, "write", writer)) for writer in writers]
        assert [result(one) for one in writing] == [2 * IMAGES * ROUNDS] * len(writers)
        (tmp_path / "end").touch()
        assert all(result(one) for one in others)
    layout = Layout(root)
    expected = {Reference.parse(kept(writer, number)) for writer in writers for number in range(IMAGES)}
    assert set(layout.references()) == expected
    assert not [reference for reference in expected if layout.missing(reference)]
    layout.collect()
    all_kept = [built(writer, number) for writer in writers for number in range(IMAGES)]
    assert set(layout.blobs.digests()) == {digest for one in all_kept for digest in (*one.manifests, *one.blobs)}


def test_a_collection_gives_up_in_words_while_copies_go_on(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "store")
    with layout.copying():
        with pytest.raises(StoreBusy, match=r"images are being copied, for 1 s now; collect when they are done"):
            Layout(layout.root).collect(within=0.6)
        with layout.copying():  # nor does the next copy wait for a collection that waits
            pass
    assert layout.collect(within=0).blobs == 0


def test_a_collection_gives_up_in_words_while_names_are_changed(tmp_path: Path) -> None:
    layout, other = (Layout(tmp_path / "store") for _ in range(2))
    with layout._changing(), pytest.raises(StoreBusy, match="the names of images are being changed"):
        other.collect(within=0.1)


def test_a_collection_that_waits_holds_no_copy_up(tmp_path: Path) -> None:
    """A copy begins, and ends, in the time that a collection waits for another."""
    root = tmp_path / "store"
    layout, source = Layout(root), MemorySource()
    with layout.copying(), doing(root, "collect") as collecting:
        reference = source.add(image("between"), "reg:5000/between:1")
        copy(reference, source, LayoutTarget(layout))
        (tmp_path / "end").touch()
        assert result(collecting) == 0
    assert parse_manifest(image("between").raw).digest in set(layout.blobs.digests())
    assert not layout.missing(reference)
