"""Collecting garbage: what a name leads to stays, what none leads to goes, doubt deletes nothing."""

import json
import os
import threading
from pathlib import Path

import pytest

from registry.collect import FRESH, StoreBusy
from registry.digest import Digest
from registry.errors import Corrupt
from registry.layout import Layout
from registry.manifest import OCI_INDEX, parse_manifest
from registry.reference import Reference
from tests.rig.images import BuiltImage, image, index, multi_platform

NGINX = Reference.parse("nginx:1.25")
REDIS = Reference.parse("redis:7")
NOW = 2_000_000_000.0


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "store", clock=lambda: NOW)


def keep(layout: Layout, built: BuiltImage, reference: Reference | None) -> None:
    for digest, blob in built.blobs.items():
        layout.blobs.put(digest, blob)
    for digest, (_, raw) in built.manifests.items():
        layout.blobs.put(digest, raw)
    if reference:
        layout.tag(reference, parse_manifest(built.raw, built.media_type))


def everything(built: BuiltImage) -> set[Digest]:
    return set(built.manifests) | set(built.blobs)


def test_what_no_name_leads_to_goes(layout: Layout) -> None:
    kept, orphan = index([multi_platform("kept"), image("more", docker=True)]), multi_platform("orphan")
    keep(layout, kept, NGINX)
    keep(layout, orphan, None)
    size = sum(layout.blobs.size(digest) or 0 for digest in everything(orphan))
    collected = layout.collect()
    assert collected.blobs == len(everything(orphan))
    assert collected.bytes == size
    assert set(layout.blobs.digests()) == everything(kept)
    assert layout.collect().blobs == 0


def test_shared_blobs_stay_until_their_last_name_goes(layout: Layout) -> None:
    both, one = multi_platform("x"), image("x", platform="linux/amd64")
    assert everything(one) < everything(both)
    keep(layout, both, NGINX)
    keep(layout, one, REDIS)
    layout.untag(NGINX)
    layout.collect()
    assert set(layout.blobs.digests()) == everything(one)
    layout.untag(REDIS)
    layout.collect()
    assert list(layout.blobs.digests()) == []


def test_a_sparse_index_keeps_the_children_that_are_there(layout: Layout) -> None:
    amd64, arm64 = (image("m", platform=platform) for platform in ("linux/amd64", "linux/arm64"))
    whole = index([amd64, arm64])
    keep(layout, whole, NGINX)
    for digest in everything(arm64):
        layout.blobs.remove(digest)
    layout.collect()
    assert set(layout.blobs.digests()) == {whole.digest} | everything(amd64)


@pytest.mark.parametrize("harm", ["damage", "remove", "empty"])
def test_a_damaged_root_stops_the_collection(layout: Layout, harm: str) -> None:
    kept, orphan = image("kept"), image("orphan")
    keep(layout, kept, NGINX)
    keep(layout, orphan, None)
    path = layout.blobs.path(kept.digest)
    if harm == "remove":
        path.unlink()
    else:
        path.write_bytes(b"" if harm == "empty" else b"x" + kept.raw[1:])
    before = set(layout.blobs.digests())
    with pytest.raises(Corrupt, match=f"nothing is deleted.*{kept.digest.hex}"):
        layout.collect()
    assert set(layout.blobs.digests()) == before


def test_a_damaged_child_stops_the_collection(layout: Layout) -> None:
    child = image("child")
    keep(layout, index([child]), NGINX)
    keep(layout, image("orphan"), None)
    layout.blobs.path(child.digest).write_bytes(b"{}")
    before = set(layout.blobs.digests())
    with pytest.raises(Corrupt):
        layout.collect()
    assert set(layout.blobs.digests()) == before


def test_what_other_tools_named_stays(layout: Layout) -> None:
    """Entries without a name that kuik knows, and parts of an index that are no manifests."""
    built, attached = image("theirs"), b"a document of its own"
    entry = {"mediaType": "application/x-unknown", "digest": str(Digest.of(attached)), "size": len(attached)}
    raw = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}).encode()
    odd = BuiltImage(
        raw, OCI_INDEX, Digest.of(raw), {Digest.of(raw): (OCI_INDEX, raw)}, {Digest.of(attached): attached}
    )
    keep(layout, odd, NGINX)
    keep(layout, built, None)
    document = json.loads((layout.root / "index.json").read_bytes())
    document["manifests"].append({"mediaType": built.media_type, "digest": str(built.digest), "size": len(built.raw)})
    (layout.root / "index.json").write_text(json.dumps(document))
    assert layout.collect().blobs == 0
    assert set(layout.blobs.digests()) == everything(odd) | everything(built)


def test_interrupted_transfers_stay_for_a_day(layout: Layout) -> None:
    digest = Digest.of(b"whole")
    with layout.blobs.ingest(digest, 5) as ingest:
        ingest.write(b"who")
        path = ingest.path
    os.utime(path, (NOW - FRESH + 1, NOW - FRESH + 1))
    assert layout.collect().bytes == 0
    os.utime(path, (NOW - FRESH - 1, NOW - FRESH - 1))
    assert layout.collect().bytes == 3
    assert not path.exists()


def test_a_collection_waits_for_copies(layout: Layout) -> None:
    orphan = image("orphan")
    collected = threading.Event()

    def collect() -> None:
        layout.collect()
        collected.set()

    thread = threading.Thread(target=collect)
    with layout.copying(), layout.copying():
        keep(layout, orphan, None)
        with pytest.raises(StoreBusy):
            layout.collect(within=0)
        thread.start()
        assert set(layout.blobs.digests()) == everything(orphan)
        layout.tag(NGINX, parse_manifest(orphan.raw))
    thread.join(30)
    assert collected.is_set()
    assert set(layout.blobs.digests()) == everything(orphan)
