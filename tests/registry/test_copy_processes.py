"""Processes that are killed in the middle, and processes that meet: nothing wrong is kept, nothing half is named."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from registry.blobs import BlobFolder
from registry.copy import copy
from registry.digest import Digest
from registry.layout import Layout
from registry.layout_target import LayoutTarget
from tests.registry.memory_source import PIECE, MemorySource
from tests.rig.images import BuiltImage, image, index, multi_platform

ROOT = Path(__file__).parents[2]
NAME = "reg:5000/team/app:1"
INGEST = """
import sys
from pathlib import Path
from registry.blobs import BlobFolder
from registry.digest import Digest
root, digest, count = Path(sys.argv[1]), Digest.parse(sys.argv[2]), int(sys.argv[3])
with BlobFolder(root).ingest(digest, 100_000) as ingest:
    ingest.write(bytes(count))
    print(ingest.offset, flush=True)
    sys.stdin.read()
    ingest.write(bytes(100_000 - count))
    ingest.commit()
print("done", flush=True)
"""
COPY = """
import sys
from pathlib import Path
from registry.copy import CopyOptions, copy
from registry.layout import Layout
from registry.layout_target import LayoutTarget
from tests.registry.memory_source import MemorySource
from tests.registry.test_copy_processes import NAME, the_image
source, pieces = MemorySource(), 0
def stop(digest, position):
    global pieces
    pieces += 1
    if pieces == int(sys.argv[2]):
        print("in the middle", flush=True)
        sys.stdin.read()
source.on_piece = stop
reference = source.add(the_image(), NAME)
copy(reference, source, LayoutTarget(Layout(Path(sys.argv[1]))), CopyOptions(parallel=int(sys.argv[3])))
print("copied", flush=True)
"""


def the_image() -> BuiltImage:
    return index([multi_platform("killed", layer_size=20_000)])


@contextmanager
def process(program: str, *arguments: object) -> Iterator["subprocess.Popen[str]"]:
    """A Python that stops itself in the middle, until its input is closed or it is killed."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    pipe = subprocess.PIPE
    started = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)
    try:
        yield started
    finally:
        started.kill()
        started.wait(30)
        for end in (started.stdin, started.stdout):
            if end:
                end.close()


def line(running: "subprocess.Popen[str]") -> str:
    assert running.stdout
    return running.stdout.readline().strip()


def assert_only_right_blobs(layout: Layout) -> None:
    for digest in layout.blobs.digests():
        assert Digest.of(layout.blobs.path(digest).read_bytes()) == digest


def test_an_ingest_that_is_killed_is_resumed(tmp_path: Path) -> None:
    content = bytes(100_000)
    digest = Digest.of(content)
    blobs = BlobFolder(tmp_path / "blobs")
    with process(INGEST, blobs.root, digest, 40_000) as running:
        assert line(running) == "40000"
        running.kill()
        running.wait(30)
    assert blobs.size(digest) is None
    with blobs.ingest(digest, len(content)) as ingest:
        assert ingest.offset == 40_000
        ingest.write(content[40_000:])
        ingest.commit()
    assert blobs.path(digest).read_bytes() == content


def test_a_process_waits_for_the_one_that_writes(tmp_path: Path) -> None:
    """The second is started while the first holds the blob: it can only end by finding the blob there."""
    digest = Digest.of(bytes(100_000))
    blobs = BlobFolder(tmp_path / "blobs")
    with process(INGEST, blobs.root, digest, 40_000) as first:
        assert line(first) == "40000"
        waiting = (
            "import sys; from pathlib import Path; from registry.blobs import BlobFolder; "
            "from registry.digest import Digest; print('here', flush=True); "
            "ingest = BlobFolder(Path(sys.argv[1])).ingest(Digest.parse(sys.argv[2]), 100_000); "
            "print(ingest.done, ingest.offset, flush=True)"
        )
        with process(waiting, blobs.root, digest) as second:
            assert line(second) == "here"
            assert first.stdin
            first.stdin.close()
            assert line(first) == "done"
            assert line(second) == "True 100000"


def pieces_of(built: BuiltImage) -> int:
    return sum(-(-len(blob) // PIECE) for blob in built.blobs.values())


@pytest.mark.parametrize("parallel", [1, 4])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.6, 1.0])
def test_a_copy_that_is_killed_is_resumed(tmp_path: Path, part: float, parallel: int) -> None:
    built = the_image()
    last = max(1, int(pieces_of(built) * part))
    root = tmp_path / "store"
    with process(COPY, root, last, parallel) as running:
        assert line(running) == "in the middle"
        running.kill()
        running.wait(30)
    layout = Layout(root)
    assert layout.references() == {}
    assert_only_right_blobs(layout)
    source = MemorySource()
    reference = source.add(built, NAME)
    copied = copy(reference, source, LayoutTarget(layout))
    blobs_fetched = copied.fetched_bytes - sum(len(raw) for _, raw in built.manifests.values())
    assert blobs_fetched <= built.size - (last - 1) * PIECE + len(built.blobs) * PIECE
    assert_only_right_blobs(layout)
    assert layout.missing(reference) == ()
    assert layout.collect().blobs == 0
    assert list((root / "blobs.ingest").iterdir()) == []


def test_what_a_killed_copy_left_is_collected(tmp_path: Path) -> None:
    """Its lock dies with it, so the collection does not wait for ever; what is half there stays for a day."""
    root = tmp_path / "store"
    with process(COPY, root, pieces_of(the_image()), 1) as running:
        assert line(running) == "in the middle"
        running.kill()
        running.wait(30)
    layout = Layout(root)
    assert list(layout.blobs.digests())
    assert layout.collect().blobs > 0
    assert list(layout.blobs.digests()) == []
    assert len(list((root / "blobs.ingest").iterdir())) == 1


def test_a_collection_in_another_process_waits_for_a_copy(tmp_path: Path) -> None:
    root = tmp_path / "store"
    collecting = (
        "import sys; from pathlib import Path; from registry.layout import Layout; "
        "layout = Layout(Path(sys.argv[1])); print('here', flush=True); print(layout.collect().blobs, flush=True)"
    )
    with process(COPY, root, pieces_of(the_image()), 1) as copying:
        assert line(copying) == "in the middle"
        with process(collecting, root) as collection:
            assert line(collection) == "here"
            assert copying.stdin
            copying.stdin.close()
            assert line(copying) == "copied"
            assert line(collection) == "0"
    assert len(json.loads((root / "index.json").read_bytes())["manifests"]) == 1
    (reference,) = Layout(root).references()
    assert Layout(root).missing(reference) == ()


def test_two_processes_copy_the_same_image_at_once(tmp_path: Path) -> None:
    root = tmp_path / "store"
    with process(COPY, root, 5, 4) as first, process(COPY, root, 5, 4) as second:
        for running in (first, second):
            assert running.stdin
            running.stdin.close()
            running.stdin = None
        assert [running.communicate()[0].splitlines()[-1] for running in (first, second)] == ["copied", "copied"]
    layout = Layout(root)
    (reference,) = layout.references()
    assert layout.missing(reference) == ()
    assert_only_right_blobs(layout)


def test_layers_differ_so_that_kills_hit_different_blobs() -> None:
    assert len({image("killed", layer_size=20_000, platform=p).digest for p in ("linux/amd64", "linux/arm64")}) == 2
