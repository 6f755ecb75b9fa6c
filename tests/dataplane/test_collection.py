"""Garbage collected on a real registry, and ended at random moments: what a tag keeps can be pulled, whatever it is."""

import json
import os
import random
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kuik.keeper import distribution
from kuik.keeper.distribution import USER, Filesystem
from kuik.keeper.volume import size_of
from kuik.keeper.writer import Collected, Writer
from registry import commons
from registry.attached import fallback_tag
from registry.client import Client
from registry.copy import copy
from registry.credentials import Credentials
from registry.digest import Digest
from registry.errors import NotFound, RegistryError
from registry.manifest import Descriptor, Manifest, parse_manifest
from registry.reference import Reference
from registry.targets import RegistryTarget
from registry.transport import Transport, host_settings
from tests.dataplane.rig.distribution import READERS_TOKEN, WRITERS_TOKEN, Distribution, reader, writer
from tests.registry.memory_source import MemorySource
from tests.rig.built import program
from tests.rig.images import image
from tests.rig.processes import listening, wait_until

REPOSITORY = "docker.io/library/app"
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
KILLS = 8


def parsed(kind: str, **parts: Any) -> Manifest:
    return parse_manifest(json.dumps({"schemaVersion": 2, "mediaType": kind, **parts}).encode(), kind)


def described(manifest: Manifest) -> dict[str, Any]:
    return {"mediaType": manifest.media_type, "digest": str(manifest.digest), "size": len(manifest.raw)}


AWAY = {"mediaType": MANIFEST, "digest": str(Digest.of(b"away")), "size": 4}


@dataclass
class Store:
    """A registry whose writer is the keeper's, with a reader beside it."""

    registry: Distribution
    copies: Distribution
    writer: Writer
    folder: Path
    manifests: dict[Digest, Manifest] = field(default_factory=dict)

    def client(self, *, write: bool) -> Client:
        token = WRITERS_TOKEN if write else READERS_TOKEN
        host = (self.registry if write else self.copies).host
        return Client(Transport(host_settings([host])), lambda _reference: (Credentials(USER, token),))

    def put(self, manifest: Manifest, tag: str = "") -> Manifest:
        place = Reference(self.registry.host, REPOSITORY, tag or None, None if tag else manifest.digest)
        self.client(write=True).push_manifest(place, manifest)
        self.manifests[manifest.digest] = manifest
        return manifest

    def blob(self, content: bytes, kind: str) -> dict[str, Any]:
        blob = Descriptor(kind, Digest.of(content), len(content))
        self.client(write=True).push_blob(Reference(self.registry.host, REPOSITORY, "x"), blob, [content])
        return {"mediaType": kind, "digest": str(blob.digest), "size": blob.size}

    def image(self, seed: str, tag: str = "", **more: Any) -> Manifest:
        config = self.blob(json.dumps({"seed": seed}).encode(), "application/vnd.oci.image.config.v1+json")
        layers = [
            self.blob(f"{seed} {number}".encode() * 2000, "application/vnd.oci.image.layer.v1.tar")
            for number in range(3)
        ]
        return self.put(parsed(MANIFEST, config=config, layers=layers, **more), tag)

    def remove(self, *tags: str) -> None:
        for tag in tags:
            self.client(write=True).delete(Reference(self.registry.host, REPOSITORY, tag))

    def collect(self, *, end_after: float | None = None) -> Collected:
        begun = time.monotonic()
        return self.writer.collect(60, lambda: end_after is not None and time.monotonic() - begun > end_after)

    def gives(self, manifest: Manifest, tag: str = "") -> bool:
        """Whether a reader gives all of it, down to the last byte; what was never there does not count."""
        client = self.client(write=False)
        place = Reference(self.copies.host, REPOSITORY, tag or None, None if tag else manifest.digest)
        try:
            found = client.manifest(place)
            for blob in found.blobs:
                with client.open_blob(place, blob.digest) as stream:
                    if Digest.of(b"".join(stream)) != blob.digest:
                        return False
        except NotFound:
            return False
        below = [self.manifests[child.digest] for child in found.manifests if child.digest in self.manifests]
        return found.raw == manifest.raw and all(map(self.gives, below))

    def ready(self) -> None:
        wait_until(lambda: listening(self.registry.port), "the writer is back")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    storage = Filesystem(str(tmp_path / "storage"))
    made = writer(tmp_path / "writer", storage)
    config = tmp_path / "writer.yaml"
    config.write_text(distribution.text(made.document))
    environment = {**os.environ, **distribution.environment("a-secret-of-the-rig")}
    run = Writer([program("registry"), "serve", str(config)], environment)
    with reader(tmp_path / "reader", storage) as copies:
        run.start()
        found = Store(made, copies, run, tmp_path / "storage")
        found.ready()
        yield found
        run.stop()


def fill(store: Store) -> Mapping[str, Manifest]:
    """One of each kind that is kept, by its tag."""
    amd, arm = store.image("amd"), store.image("arm")
    inner = store.put(parsed(INDEX, manifests=[described(arm), AWAY]))
    anchored = store.image("anchored")
    subject = described(store.image("signed", "signed"))
    sbom = store.image("sbom", artifactType="application/spdx+json", subject=subject)
    tagged = {
        "sparse": parsed(INDEX, manifests=[described(amd), AWAY]),
        "nested": parsed(INDEX, manifests=[described(inner), described(amd)]),
        "empty": parsed(INDEX, manifests=[]),
        f"digest-{anchored.digest.hex}": anchored,
        fallback_tag(Digest.parse(subject["digest"])): parsed(INDEX, manifests=[described(sbom)]),
        f"{fallback_tag(Digest.parse(subject['digest']))}.sig": store.image("signature"),
    }
    for tag, manifest in tagged.items():
        store.put(manifest, tag)
    return {**tagged, "signed": store.manifests[Digest.parse(subject["digest"])]}


def test_all_that_a_tag_keeps_can_be_pulled_after_a_collection(store: Store) -> None:
    kept = fill(store)
    moved = store.image("before", "moves")
    kept = {**kept, "moves": store.image("after", "moves")}
    loose, shared = store.image("loose", "loose"), store.image("amd", "other-name")
    store.remove("loose", "other-name")
    before = size_of(store.folder)
    done = store.collect()
    assert (done.problem, done.blobs > 4) == ("", True)
    assert size_of(store.folder) < before
    store.ready()
    assert {tag: store.gives(manifest, tag) for tag, manifest in kept.items()} == dict.fromkeys(kept, True)
    assert not store.gives(moved), "what a tag named before it moved, without an anchor"
    assert not store.gives(loose)
    assert store.gives(shared), "another index still names it"
    again = store.image("loose", "loose")
    assert store.gives(again, "loose"), "what went can come again at once"


def test_layers_that_images_share_are_still_known_after_a_collection(store: Store) -> None:
    client, target = store.client(write=True), RegistryTarget(store.client(write=True), store.registry.host)
    shared = Reference(store.registry.host, commons.REPOSITORY, "x")
    layers = {}
    for name in ("docker.io/library/loose:1", "quay.io/team/kept:1"):
        source, built = MemorySource(), image(name, layer_size=2 * commons.WORTH)
        copy(source.add(built, name), source, target)
        layers[name] = {digest for digest, blob in built.blobs.items() if len(blob) >= commons.WORTH}
        assert layers[name]
        assert all(client.has_blob(shared, one) for one in layers[name])
    client.delete(Reference(store.registry.host, "docker.io/library/loose", "1"))
    assert store.collect().problem == ""
    store.ready()
    there = {name: [client.has_blob(shared, one) is not None for one in found] for name, found in layers.items()}
    assert there == {"docker.io/library/loose:1": [False, False], "quay.io/team/kept:1": [True, True]}


def test_a_volume_on_which_nothing_was_stored_yet_is_no_failure(store: Store) -> None:
    assert store.collect().problem == ""
    store.ready()


@contextmanager
def killing(after: float) -> Iterator[None]:
    """SIGKILL for the child of ours that collects, so many seconds after it began."""
    stopped = threading.Event()

    def work() -> None:
        while not stopped.is_set():
            for pid in children():
                if b"garbage-collect" in command(pid):
                    time.sleep(after)
                    if b"garbage-collect" in command(pid):
                        os.kill(pid, signal.SIGKILL)
                    return
            time.sleep(0.001)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join(10)


def children() -> list[int]:
    with suppress(OSError):
        return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    return []


def command(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def test_a_collector_that_is_killed_anywhere_leaves_all_that_is_kept_and_the_next_one_ends_it(store: Store) -> None:
    kept, chance = fill(store), random.Random(7)  # noqa: S311 - moments
    loose, failed = [], 0
    for number in range(KILLS):
        tag = f"loose{number}"
        loose.append(store.image(tag, tag))
        store.remove(tag)
        with killing(chance.uniform(0.0, 0.25)):
            failed += bool(store.collect().problem)
        store.ready()
        assert all(store.gives(manifest, tag) for tag, manifest in kept.items())
        back = store.image(tag, tag)  # a copy comes right after
        assert store.gives(back, tag)
        store.remove(tag)
    assert failed, "at least one was hit"
    assert store.collect().problem == ""
    assert not any(map(store.gives, loose))
    assert all(store.gives(manifest, tag) for tag, manifest in kept.items())


def test_a_keeper_that_ends_leaves_no_collector_behind(store: Store) -> None:
    store.image("loose", "loose")
    store.remove("loose")
    assert store.collect(end_after=0.0).problem
    assert not [pid for pid in children() if b"garbage-collect" in command(pid)]
    assert not listening(store.registry.port), "whoever ends does not start a writer"
    store.writer.start()
    store.ready()


def pushed_one(pushed: list[Manifest]) -> None:
    had = len(pushed)
    wait_until(lambda: len(pushed) > had, "a copy ends")


def test_an_upload_that_a_collection_comes_upon_is_repeated_and_whole(store: Store) -> None:
    ended, pushed = threading.Event(), list[Manifest]()

    def copy() -> None:
        number = 0
        while not ended.is_set() and number < 500:
            number += 1
            for _ in range(200):  # as a copy does: it waits for the writer, and begins again where something is gone
                try:
                    made = store.image(f"copied{number}", f"copied{number}")
                    if store.gives(made, f"copied{number}"):
                        break
                except RegistryError:
                    time.sleep(0.05)
            else:
                return
            pushed.append(made)

    thread = threading.Thread(target=copy, daemon=True)
    thread.start()
    for _ in range(3):
        pushed_one(pushed)
        assert store.collect().problem == ""
        store.ready()
    ended.set()
    thread.join(30)
    assert not thread.is_alive()
    assert all(store.gives(one, f"copied{number}") for number, one in enumerate(pushed, 1))
