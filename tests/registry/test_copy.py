"""Copies into a layout, from a registry in memory: what is fetched, chosen, resumed, refused, and when it is named."""

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from registry.contents import MAX_DEPTH
from registry.copy import Copied, CopyOptions, copy
from registry.digest import Digest
from registry.errors import Corrupt, NoPlatform, NotFound, StoreFull, Unreachable, Unsupported
from registry.layout import Layout
from registry.layout_target import LayoutTarget
from registry.manifest import OCI_INDEX, OCI_MANIFEST, Descriptor, Platform
from registry.reference import Reference
from tests.registry.memory_source import MemorySource
from tests.rig.images import BuiltImage, image, index, multi_platform

AMD64 = Platform("linux", "amd64")
ARM64 = Platform("linux", "arm64")
NAME = "reg:5000/team/app:1"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "store")


@pytest.fixture
def source() -> MemorySource:
    return MemorySource()


class Seen:
    """A progress that adds up."""

    def __init__(self) -> None:
        self.begun: list[Descriptor] = []
        self.bytes: dict[Digest, int] = {}
        self.ended: list[Digest] = []

    def started(self, blob: Descriptor) -> None:
        self.begun.append(blob)

    def advanced(self, digest: Digest, count: int) -> None:
        self.bytes[digest] = self.bytes.get(digest, 0) + count

    def finished(self, digest: Digest) -> None:
        self.ended.append(digest)


def run(reference: Reference, source: MemorySource, layout: Layout, *platforms: Platform, parallel: int = 4) -> Copied:
    return copy(reference, source, LayoutTarget(layout), CopyOptions(frozenset(platforms), parallel))


def artifact(document: dict[str, object], media_type: str, *children: BuiltImage) -> BuiltImage:
    """A hand-made manifest or index."""
    raw = json.dumps(document).encode()
    digest = Digest.of(raw)
    manifests = {digest: (media_type, raw)}
    for child in children:
        manifests.update(child.manifests)
    blobs = {key: blob for child in children for key, blob in child.blobs.items()}
    return BuiltImage(raw, media_type, digest, manifests, blobs)


def entry(media_type: str, content: bytes, **more: object) -> dict[str, object]:
    return {"mediaType": media_type, "digest": str(Digest.of(content)), "size": len(content), **more}


def everything(built: BuiltImage) -> set[Digest]:
    return set(built.manifests) | set(built.blobs)


def assert_whole(layout: Layout, built: BuiltImage) -> None:
    for digest, content in [*built.blobs.items(), *((key, raw) for key, (_, raw) in built.manifests.items())]:
        assert layout.blobs.path(digest).read_bytes() == content


@pytest.mark.parametrize("docker", [False, True], ids=["oci", "docker"])
@pytest.mark.parametrize("build", [image, multi_platform])
def test_an_image_arrives_byte_for_byte(
    source: MemorySource, layout: Layout, build: Callable[..., BuiltImage], docker: bool
) -> None:
    built = build("a", docker=docker)
    reference = source.add(built, NAME)
    copied = run(reference, source, layout)
    assert_whole(layout, built)
    found = layout.resolve(reference)
    assert found is not None
    assert (found.digest, found.media_type) == (built.digest, built.media_type)
    size = built.size + sum(len(raw) for _, raw in built.manifests.values())
    assert (copied.digest, copied.size, copied.fetched_bytes, copied.notes) == (built.digest, size, size, ())
    assert layout.missing(reference) == ()


def test_platforms_are_told(source: MemorySource, layout: Layout) -> None:
    assert run(source.add(multi_platform("m"), NAME), source, layout).platforms == (AMD64, ARM64)
    assert run(source.add(image("a", platform="linux/arm/v7"), NAME), source, layout).platforms == (
        Platform("linux", "arm", "v7"),
    )


def test_what_is_there_costs_one_manifest_request(source: MemorySource, layout: Layout) -> None:
    reference = source.add(multi_platform("a"), NAME)
    first = run(reference, source, layout)
    source.manifest_requests.clear()
    source.blob_requests.clear()
    again = run(reference, source, layout)
    assert source.manifest_requests == ["1"]
    assert source.blob_requests == []
    assert again.size == first.size
    assert again.platforms == first.platforms
    assert again.fetched_bytes == len(multi_platform("a").raw)


def test_only_what_is_new_is_fetched(source: MemorySource, layout: Layout) -> None:
    one = image("x", platform="linux/amd64")
    run(source.add(one, "app:1"), source, layout)
    source.blob_requests.clear()
    both = multi_platform("x")
    run(source.add(both, "app:2"), source, layout)
    assert {digest for digest, _ in source.blob_requests} == set(both.blobs) - set(one.blobs)


def test_a_tag_that_moved_upstream_moves_here(source: MemorySource, layout: Layout) -> None:
    for seed in "ab":
        reference = source.add(image(seed), NAME)
        run(reference, source, layout)
        found = layout.resolve(reference)
        assert found is not None
        assert found.digest == image(seed).digest


def test_wanted_platforms_only(source: MemorySource, layout: Layout) -> None:
    amd64, arm64 = (image("m", platform=platform) for platform in ("linux/amd64", "linux/arm64"))
    whole = index([amd64, arm64])
    reference = source.add(whole, NAME)
    copied = run(reference, source, layout, ARM64)
    assert set(layout.blobs.digests()) == {whole.digest} | everything(arm64)
    assert copied.platforms == (ARM64,)
    assert layout.missing(reference, frozenset({ARM64})) == ()
    assert layout.missing(reference) == (amd64.digest,)
    assert run(reference, source, layout, AMD64, ARM64).platforms == (AMD64, ARM64)
    assert_whole(layout, whole)


def test_an_image_that_is_no_index_comes_whatever_it_runs_on(source: MemorySource, layout: Layout) -> None:
    assert run(source.add(image("a", platform="linux/arm64"), NAME), source, layout, AMD64).platforms == (ARM64,)


def test_none_of_the_wanted_platforms(source: MemorySource, layout: Layout) -> None:
    reference = source.add(multi_platform("a"), NAME)
    with pytest.raises(NoPlatform, match=r"offers linux/amd64, linux/arm64; wanted is linux/s390x"):
        run(reference, source, layout, Platform("linux", "s390x"))
    assert layout.references() == {}
    assert source.blob_requests == []


def test_attestations_belong_to_all_and_children_without_a_platform_to_every_choice(
    source: MemorySource, layout: Layout
) -> None:
    app, attestation, plain = image("app"), image("attestation"), image("plain")
    entries = [
        entry(app.media_type, app.raw, platform={"os": "linux", "architecture": "amd64"}),
        entry(attestation.media_type, attestation.raw, platform={"os": "unknown", "architecture": "unknown"}),
        entry(plain.media_type, plain.raw),
    ]
    built = artifact({"schemaVersion": 2, "manifests": entries}, OCI_INDEX, app, attestation, plain)
    reference = source.add(built, NAME)
    assert run(reference, source, layout, AMD64).platforms == (AMD64,)
    assert set(layout.blobs.digests()) == {built.digest} | everything(app) | everything(plain)
    run(reference, source, layout)
    assert_whole(layout, built)


def test_only_attestations_are_no_image(source: MemorySource, layout: Layout) -> None:
    attestation = image("attestation")
    unknown = {"os": "unknown", "architecture": "unknown"}
    entries = [entry(attestation.media_type, attestation.raw, platform=unknown)]
    reference = source.add(artifact({"schemaVersion": 2, "manifests": entries}, OCI_INDEX, attestation), NAME)
    with pytest.raises(NoPlatform, match="offers none"):
        run(reference, source, layout, AMD64)


def test_indexes_in_indexes(source: MemorySource, layout: Layout) -> None:
    built = multi_platform("deep")
    for _ in range(MAX_DEPTH - 2):
        built = index([built])
    reference = source.add(built, NAME)
    assert run(reference, source, layout, AMD64).platforms == (AMD64,)
    run(reference, source, layout)
    assert_whole(layout, built)
    with pytest.raises(Unsupported, match="deep"):
        run(source.add(index([built]), "app:deeper"), source, layout)
    assert list(layout.references()) == [reference]


def test_layers_that_repeat_and_empty_ones(source: MemorySource, layout: Layout) -> None:
    layer, config = b"layer", b'{"os": "linux", "architecture": "amd64"}'
    layers = [entry("x", layer), entry("x", b""), entry("x", layer)]
    document = {
        "schemaVersion": 2,
        "config": entry("application/vnd.oci.image.config.v1+json", config),
        "layers": layers,
    }
    built = artifact(document, OCI_MANIFEST)
    reference = source.add(built, NAME)
    source.blobs.update({Digest.of(blob): blob for blob in (layer, config, b"")})
    copied = run(reference, source, layout)
    assert sorted(digest for digest, _ in source.blob_requests) == sorted([Digest.of(layer), Digest.of(config)])
    assert layout.blobs.size(Digest.of(b"")) == 0
    assert copied.size == len(built.raw) + len(layer) + len(config)
    assert copied.platforms == (AMD64,)


def test_a_layer_kept_elsewhere_is_left_out_with_a_note(source: MemorySource, layout: Layout) -> None:
    config = b"{}"
    foreign = entry(
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", b"windows", urls=["https://x.example/l"]
    )
    document = {"schemaVersion": 2, "config": entry("x", config), "layers": [foreign]}
    built = artifact(document, OCI_MANIFEST)
    reference = source.add(built, NAME)
    source.blobs[Digest.of(config)] = config
    copied = run(reference, source, layout)
    assert copied.notes == (f"layer {Digest.of(b'windows')} is kept elsewhere and was left out",)
    assert copied.size == len(built.raw) + len(config)
    assert layout.missing(reference) == ()
    source.blobs[Digest.of(b"windows")] = b"windows"  # some registries do hold it
    assert run(reference, source, layout).notes == ()
    assert layout.blobs.size(Digest.of(b"windows")) == 7


def test_parts_of_an_index_that_are_no_images_are_left_out_with_a_note(source: MemorySource, layout: Layout) -> None:
    app = image("app")
    entries = [entry("application/x-wasm", b"wasm"), entry(app.media_type, app.raw)]
    reference = source.add(artifact({"schemaVersion": 2, "manifests": entries}, OCI_INDEX, app), NAME)
    (note,) = run(reference, source, layout).notes
    assert "application/x-wasm" in note


def test_a_lost_layer_fails_and_names_nothing(source: MemorySource, layout: Layout) -> None:
    built = image("a")
    reference = source.add(built, NAME)
    lost = next(iter(built.blobs))
    del source.blobs[lost]
    with pytest.raises(NotFound, match=lost.hex):
        run(reference, source, layout)
    assert layout.references() == {}


def test_a_lost_child_fails_and_names_nothing(source: MemorySource, layout: Layout) -> None:
    child = image("child")
    reference = source.add(index([child]), NAME)
    del source.manifests[child.digest]
    with pytest.raises(NotFound):
        run(reference, source, layout)
    assert layout.references() == {}


def test_a_damaged_blob_is_refused_and_not_kept(source: MemorySource, layout: Layout) -> None:
    built = image("a")
    reference = source.add(built, NAME)
    victim = max(built.blobs, key=lambda digest: len(built.blobs[digest]))
    good = source.blobs[victim]
    source.blobs[victim] = b"x" + good[1:]
    with pytest.raises(Corrupt, match=victim.hex):
        run(reference, source, layout)
    assert layout.references() == {}
    assert layout.blobs.size(victim) is None
    source.blobs[victim] = good
    source.blob_requests.clear()
    run(reference, source, layout)
    assert (victim, 0) in source.blob_requests
    assert_whole(layout, built)


@pytest.mark.parametrize("which", ["root", "child"])
def test_a_manifest_that_is_another_one_is_refused(source: MemorySource, layout: Layout, which: str) -> None:
    child, other = image("child"), image("other")
    built = index([child])
    reference = source.add(built, NAME).with_digest(built.digest)
    source.manifests[built.digest if which == "root" else child.digest] = (other.media_type, other.raw)
    with pytest.raises(Corrupt):
        run(reference, source, layout)
    assert layout.references() == {}


def test_a_break_is_resumed_by_the_next_copy(source: MemorySource, layout: Layout) -> None:
    built = image("a", layers=1, layer_size=50_000)
    reference = source.add(built, NAME)
    layer = max(built.blobs, key=lambda digest: len(built.blobs[digest]))
    source.breaks[layer] = 20_500
    with pytest.raises(Unreachable):
        run(reference, source, layout)
    assert layout.references() == {}
    source.breaks.clear()
    source.blob_requests.clear()
    seen = Seen()
    copied = copy(reference, source, LayoutTarget(layout), progress=seen)
    assert (layer, 20_500) in source.blob_requests
    assert copied.fetched_bytes < copied.size
    assert seen.bytes[layer] == len(built.blobs[layer])
    assert_whole(layout, built)


def test_a_resumed_blob_that_proves_damaged_is_fetched_once_more(source: MemorySource, layout: Layout) -> None:
    built = image("a", layers=1, layer_size=50_000)
    reference = source.add(built, NAME)
    layer = max(built.blobs, key=lambda digest: len(built.blobs[digest]))
    with layout.blobs.ingest(layer, len(built.blobs[layer])) as ingest:
        ingest.write(b"rubbish")
    seen = Seen()
    copy(reference, source, LayoutTarget(layout), progress=seen)
    assert [start for digest, start in source.blob_requests if digest == layer] == [7, 0]
    assert seen.bytes[layer] == len(built.blobs[layer])
    assert sorted(seen.ended) == sorted(built.blobs)
    assert_whole(layout, built)


def test_a_transfer_that_was_complete_but_not_named_needs_no_request(source: MemorySource, layout: Layout) -> None:
    built = image("a")
    reference = source.add(built, NAME)
    for digest, blob in built.blobs.items():
        with layout.blobs.ingest(digest, len(blob)) as ingest:
            ingest.write(blob)
    run(reference, source, layout)
    assert source.blob_requests == []
    assert_whole(layout, built)


def test_manifests_that_the_disk_damaged_are_healed(source: MemorySource, layout: Layout) -> None:
    built = multi_platform("a")
    reference = source.add(built, NAME)
    run(reference, source, layout)
    for digest, (_, raw) in built.manifests.items():
        layout.blobs.path(digest).write_bytes(b"x" + raw[1:])
    run(reference, source, layout)
    assert_whole(layout, built)


def test_a_blob_that_lost_its_tail_on_the_disk_is_healed(source: MemorySource, layout: Layout) -> None:
    built = image("a")
    reference = source.add(built, NAME)
    run(reference, source, layout)
    os.truncate(layout.blobs.path(next(iter(built.blobs))), 5)
    run(reference, source, layout)
    assert_whole(layout, built)


def test_a_full_disk_is_said(source: MemorySource, layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = source.add(image("a"), NAME)

    def full(fd: int, data: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("registry.ingest.os.write", full)
        with pytest.raises(StoreFull):
            run(reference, source, layout)
    assert layout.references() == {}


def test_progress_adds_up(source: MemorySource, layout: Layout) -> None:
    built = multi_platform("a")
    seen = Seen()
    copy(source.add(built, NAME), source, LayoutTarget(layout), progress=seen)
    assert {blob.digest: blob.size for blob in seen.begun} == {key: len(blob) for key, blob in built.blobs.items()}
    assert seen.bytes == {key: len(blob) for key, blob in built.blobs.items()}
    assert sorted(seen.ended) == sorted(built.blobs)


def test_blobs_come_in_parallel_but_not_more_than_asked(source: MemorySource, layout: Layout) -> None:
    """Three transfers meet at a barrier, which would break if they came one after another."""
    meeting = threading.Barrier(3, timeout=20)
    running: set[Digest] = set()
    most = 0
    lock = threading.Lock()

    def meet(digest: Digest, position: int) -> None:
        nonlocal most
        if position == 0:
            with lock:
                running.add(digest)
                most = max(most, len(running))
            meeting.wait()
            with lock:
                running.discard(digest)

    source.on_piece = meet
    run(source.add(image("a", layers=5), NAME), source, layout, parallel=3)
    assert most == 3


def test_the_first_error_stops_the_rest(source: MemorySource, layout: Layout) -> None:
    """One blob proves lost while another is slowly on its way: that one ends at its next piece, and stays resumable."""
    built = image("a", layers=2, layer_size=200_000)
    reference = source.add(built, NAME)
    lost, slow = sorted(built.blobs, key=lambda digest: len(built.blobs[digest]))[1:]
    del source.blobs[lost]
    under_way, never = threading.Event(), threading.Event()

    def crawl(digest: Digest, position: int) -> None:
        if digest == slow and position >= 3000:
            under_way.set()
            never.wait(0.02)

    source.on_open = lambda digest: under_way.wait(20) if digest == lost else None
    source.on_piece = crawl
    with pytest.raises(NotFound, match=lost.hex):
        run(reference, source, layout)
    with layout.blobs.ingest(slow, len(built.blobs[slow])) as ingest:
        assert not ingest.done
        assert 3000 <= ingest.offset < len(built.blobs[slow])


def test_the_name_appears_only_when_all_is_there(source: MemorySource, layout: Layout) -> None:
    reference = source.add(multi_platform("a"), NAME)
    other = Layout(layout.root)
    named: list[bool] = []
    source.on_piece = lambda _digest, _position: named.append(other.resolve(reference) is not None)
    run(reference, source, layout)
    assert named
    assert not any(named)
    assert other.resolve(reference) is not None
    assert other.missing(reference) == ()


def test_copies_of_the_same_image_at_once_fetch_each_blob_once(source: MemorySource, layout: Layout) -> None:
    built = multi_platform("a")
    reference = source.add(built, NAME)
    layouts = [Layout(layout.root) for _ in range(4)]
    threads = [threading.Thread(target=run, args=(reference, source, each)) for each in layouts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(digest for digest, _ in source.blob_requests) == sorted(built.blobs)
    assert_whole(layout, built)


def test_a_collection_does_not_come_between(source: MemorySource, layout: Layout) -> None:
    """While blobs arrive that nothing names yet, another process' collection waits."""
    reference = source.add(image("a"), NAME)
    collections: list[threading.Thread] = []

    def collect(digest: Digest, position: int) -> None:
        if not collections:
            collections.append(threading.Thread(target=Layout(layout.root).collect))
            collections[0].start()

    source.on_piece = collect
    run(reference, source, layout, parallel=1)
    collections[0].join(30)
    assert layout.missing(reference) == ()
    assert_whole(layout, image("a"))
