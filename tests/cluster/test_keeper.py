"""The keeper beside a real registry, with its account's rights on a real API server: what goes, what stays, kills."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kube.types import format_time
from kuik.keeper import distribution
from kuik.keeper.distribution import USER, Filesystem
from registry.client import Client
from registry.credentials import Credentials
from registry.digest import Digest
from registry.errors import Corrupt, NotFound, RegistryError, ServerFailure
from registry.manifest import Descriptor, Manifest, parse_manifest
from registry.reference import Reference
from registry.transport import Transport, host_settings
from tests.cluster.rig.api import Object
from tests.cluster.rig.control_plane import ControlPlane
from tests.cluster.rig.workloads import image_cache, namespace, pod
from tests.cluster.test_rights import account
from tests.dataplane.rig.distribution import READERS_TOKEN, WRITERS_TOKEN, Distribution, reader, writer
from tests.rig.built import program
from tests.rig.processes import listening, wait_until

pytestmark = pytest.mark.timeout(300)
REPOSITORY = "docker.io/library/app"
VOLUME = "kuik-registry-0"
LAYER = 300_000
QUICK = {"grace": "1s", "sweepEvery": "1s"}


@dataclass
class Scene:
    """A registry with its reader, the keeper as a process, and the objects that say what is to stay."""

    plane: ControlPlane
    folder: Path
    writer: Distribution
    reader: Distribution
    images: list[str] = field(default_factory=list)
    keeper: "subprocess.Popen[bytes] | None" = None
    volume: str = VOLUME

    def start(self, *options: str) -> None:
        config = self.folder / "writer.yaml"
        config.write_text(distribution.text(self.writer.document))
        environment = {**os.environ, **distribution.environment("rig"), "KUIK_REGISTRY_TOKEN": WRITERS_TOKEN}
        environment["KUIK_READER_TOKEN"] = READERS_TOKEN
        command = [sys.executable, "-m", "kuik.keeper", "--url", self.writer.url, "--volume", self.volume]
        command += ["--kubeconfig", str(account(self.plane, "kuik-keeper")), "--settles", "1", "--telemetry", "none"]
        command += options
        with (self.folder / "keeper.log").open("ab") as log:
            run = [*command, "--", program("registry"), "serve", str(config)]
            self.keeper = subprocess.Popen(run, stdout=log, stderr=log, env=environment)

    def stop(self) -> None:
        if self.keeper:
            self.keeper.terminate()
            self.keeper.wait(40)
            self.keeper = None

    def kill(self) -> None:
        assert self.keeper
        self.keeper.kill()
        self.keeper.wait(10)
        self.keeper = None

    @property
    def log(self) -> str:
        return (self.folder / "keeper.log").read_text(errors="replace")

    def client(self, *, write: bool) -> Client:
        server, token = (self.writer, WRITERS_TOKEN) if write else (self.reader, READERS_TOKEN)
        return Client(Transport(host_settings([server.host])), lambda _reference: (Credentials(USER, token),))

    def push(self, seed: str, *tags: str, sparse: bool = False, repository: str = REPOSITORY) -> Manifest:
        """An image of one layer; with `sparse` an index that names it, and another that is not there."""
        client, host = self.client(write=True), self.writer.host
        manifest = self._image(client, seed, repository)
        if sparse:
            away = {
                **_described(manifest),
                "digest": str(Digest.of(b"away")),
                "platform": {"os": "linux", "architecture": "s390x"},
            }
            here = {**_described(manifest), "platform": {"os": "linux", "architecture": "amd64"}}
            manifest = _parsed("application/vnd.oci.image.index.v1+json", {"manifests": [here, away]})
        for tag in tags:
            client.push_manifest(Reference(host, repository, tag), manifest)
        return manifest

    def push_when_it_takes(self, seed: str, tag: str) -> Manifest:
        """As `push`, as soon as the writer listens and does not collect."""
        found: list[Manifest] = []

        def pushed() -> bool:
            with suppress(RegistryError):
                found.append(self.push(seed, tag))
            return bool(found)

        wait_until(pushed, f"the writer takes an image: {self.log[-1500:]}", 60)
        return found[0]

    def _image(self, client: Client, seed: str, repository: str) -> Manifest:
        layer = b"".join(Digest.of(f"{seed} {number}".encode()).hex.encode() for number in range(LAYER // 64))
        config = json.dumps({"os": "linux", "seed": seed}).encode()
        place = Reference(self.writer.host, repository, "x")
        named = []
        for content, kind in ((config, "config.v1+json"), (layer, "layer.v1.tar")):
            blob = Descriptor(f"application/vnd.oci.image.{kind}", Digest.of(content), len(content))
            client.push_blob(place, blob, [content])
            named.append({"mediaType": blob.media_type, "digest": str(blob.digest), "size": blob.size})
        manifest = _parsed("application/vnd.oci.image.manifest.v1+json", {"config": named[0], "layers": named[1:]})
        client.push_manifest(place.with_digest(manifest.digest), manifest)
        return manifest

    def pulled(self, manifest: Manifest, tag: str = "") -> bool:
        """Whether a reader still gives all of it, by the tag or by digest."""
        client = self.client(write=False)
        place = Reference(self.reader.host, REPOSITORY, tag or None, None if tag else manifest.digest)
        try:
            root = client.manifest(place)
            for child in (
                [root] if not root.is_index else [client.manifest(place.with_digest(root.manifests[0].digest))]
            ):
                for blob in child.blobs:
                    with client.open_blob(place, blob.digest) as stream:
                        if Digest.of(b"".join(stream)) != blob.digest:
                            return False
        except (NotFound, Corrupt, ServerFailure):
            return False
        return root.digest == manifest.digest

    def keep(self, name: str, image: str, manifest: Manifest, spec: Object | None = None, **status: Any) -> None:
        """A CachedImage that is cached."""
        made: Object = {"apiVersion": "kuik.dev/v1alpha1", "kind": "CachedImage", "metadata": {"name": name}}
        self.plane.kubectl("create", "-f", "-", stdin=json.dumps({**made, "spec": {"image": image, **(spec or {})}}))
        said = {"phase": "Cached", "digest": str(manifest.digest), "copiedAs": "Public", **status}
        self.plane.api.patch(made, {"status": said}, "status")
        self.images.append(name)

    def image(self, name: str) -> Object:
        return self.plane.api.request("GET", f"apis/kuik.dev/v1alpha1/cachedimages/{name}")

    def state(self, name: str) -> str:
        """What the keeper says of an image; empty before it does."""
        text = self.image(name)["metadata"].get("annotations", {}).get(f"volume.kuik.dev/{self.volume}")
        return str(json.loads(text)["state"]) if text else ""

    def says(self) -> Object:
        cache = self.plane.api.request("GET", "apis/kuik.dev/v1alpha1/imagecaches/default")
        text = cache["metadata"].get("annotations", {}).get(f"volume.kuik.dev/{self.volume}")
        return json.loads(text) if text else {}


def _described(manifest: Manifest) -> Object:
    return {"mediaType": manifest.media_type, "digest": str(manifest.digest), "size": len(manifest.raw)}


def _parsed(kind: str, parts: Object) -> Manifest:
    return parse_manifest(json.dumps({"schemaVersion": 2, "mediaType": kind, **parts}).encode(), kind)


@pytest.fixture
def scene(installed: ControlPlane, tmp_path: Path) -> Iterator[Scene]:
    storage = Filesystem(str(tmp_path / "storage"))
    document = writer(tmp_path / "writer", storage)
    installed.kubectl("apply", "-f", "-", stdin=json.dumps(image_cache(keeper=QUICK)))
    with reader(tmp_path / "reader", storage) as copies:
        with document:  # what is there before the keeper comes
            made = Scene(installed, tmp_path, document, copies)
            yield made
        made.stop()
    installed.kubectl("delete", "imagecache", "default", "--cascade=orphan")
    installed.kubectl("delete", "namespace", "kept", "--wait=false", "--ignore-not-found")
    for name in made.images:
        installed.kubectl("delete", "cachedimage", name, "--ignore-not-found")


def begin(scene: Scene) -> None:
    """The writer goes under the keeper's hand."""
    scene.writer.stop()
    scene.start()
    wait_until(lambda: bool(scene.says()), f"the keeper speaks: {scene.log[-1500:]}", 60)


@contextmanager
def pulling(look: Callable[[], bool]) -> Iterator[list[bool]]:
    """Pulls one after another, all the time."""
    seen: list[bool] = []
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            try:
                seen.append(look())
            except (RegistryError, AssertionError):
                seen.append(False)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join(20)


def test_what_stands_for_nothing_goes_and_its_space_comes_back_while_readers_go_on(scene: Scene) -> None:
    kept = scene.push("kept", "1", sparse=True)
    old = scene.push("old", "digest-of-old")
    anchor = f"digest-{old.digest.hex}"
    old = scene.push("old", anchor)
    loose = scene.push("loose", "2")
    signed = scene.push("signature", f"sha256-{kept.digest.hex}.sig")
    until = format_time(datetime.now(UTC) + timedelta(days=1))
    scene.keep("app", f"{REPOSITORY}:1", kept, previousDigests=[{"digest": str(old.digest), "until": until}])
    with pulling(lambda: scene.pulled(kept, "1")) as seen:
        begin(scene)
        wait_until(lambda: "freed" in scene.says(), f"garbage is collected: {scene.log[-1500:]}", 60)
    assert len(seen) > 5
    assert all(seen), "readers never notice"
    assert scene.says()["freed"] >= LAYER // 2
    assert not scene.pulled(loose)
    assert scene.pulled(old), "an earlier digest that is due to stay"
    assert scene.pulled(old, anchor)
    assert scene.pulled(signed), "what is attached to it"
    tags = scene.client(write=True).tags(Reference(scene.writer.host, REPOSITORY))
    assert set(tags) == {"1", anchor, f"sha256-{kept.digest.hex}.sig"}
    again = scene.push("loose", "3")
    assert scene.pulled(again, "3"), "it can be copied again at once"


def test_a_sweep_that_would_remove_most_waits_for_a_persons_word(scene: Scene) -> None:
    pushed = [scene.push(f"many{number}", str(number)) for number in range(12)]
    scene.keep("app", f"{REPOSITORY}:0", pushed[0])
    begin(scene)
    wait_until(lambda: scene.says().get("sweep", {}).get("state") == "Stopped", "the sweep stops", 60)
    shown = scene.says()["sweep"]
    assert (shown["due"], shown["total"]) == (11, 12)
    assert all(scene.pulled(one) for one in pushed)
    scene.plane.kubectl("annotate", "imagecache", "default", f"kuik.dev/confirm-sweep={shown['confirm']}")
    wait_until(lambda: "freed" in scene.says(), f"it goes on: {scene.log[-1500:]}", 60)
    assert [scene.pulled(one) for one in pushed] == [True] + [False] * 11


def test_without_an_image_cache_nothing_is_removed(scene: Scene) -> None:
    loose = scene.push("loose", "1")
    scene.keep("app", f"{REPOSITORY}:0", loose)
    begin(scene)
    scene.plane.kubectl("delete", "imagecache", "default", "--cascade=orphan")
    scene.plane.kubectl("delete", "cachedimage", "app")
    time.sleep(6)
    assert scene.pulled(loose, "1")
    scene.plane.kubectl("apply", "-f", "-", stdin=json.dumps(image_cache(keeper=QUICK)))
    wait_until(lambda: not scene.pulled(loose, "1"), "with one it goes", 60)


def test_an_image_goes_on_demand_but_not_from_under_a_pod(scene: Scene) -> None:
    free, used = scene.push("free", "1"), scene.push("used", "2")
    scene.keep("free", f"{REPOSITORY}:1", free)
    scene.keep("used", f"{REPOSITORY}:2", used)
    scene.plane.kubectl("create", "-f", "-", stdin=json.dumps(namespace("kept")))
    made = json.dumps(pod("kept", "web", f"{REPOSITORY}:2"))
    wait_until(lambda: scene.plane.try_kubectl("create", "-f", "-", stdin=made).returncode == 0, "a pod uses one")
    begin(scene)
    for name in ("free", "used"):
        scene.plane.kubectl("annotate", "cachedimage", name, "kuik.dev/remove=true")
    wait_until(lambda: scene.state("free") == "Removed", f"it is removed: {scene.log[-1500:]}", 60)
    assert not scene.pulled(free, "1")
    assert scene.pulled(used, "2")
    scene.plane.kubectl("annotate", "cachedimage", "used", "kuik.dev/remove=force", "--overwrite")
    wait_until(lambda: not scene.pulled(used, "2"), "it is removed all the same", 60)
    wait_until(lambda: "kuik.dev/remove" not in scene.image("used")["metadata"]["annotations"], "the wish is settled")


def test_killed_at_any_moment_it_leaves_a_registry_that_serves_and_goes_on(scene: Scene) -> None:
    kept, loose = scene.push("kept", "1", sparse=True), []
    scene.keep("app", f"{REPOSITORY}:1", kept)
    with pulling(lambda: scene.pulled(kept, "1")) as seen:
        begin(scene)
        for number, pause in enumerate((0.5, 1.5, 2.5, 3.1, 3.7, 4.6)):
            with suppress(RegistryError):
                loose.append(scene.push(f"loose{number}", f"loose{number}"))
            time.sleep(pause)
            scene.kill()
            wait_until(lambda: not listening(scene.writer.port), "the writer ends with its keeper")
            scene.start()

        def only_kept() -> bool:
            try:
                return set(scene.client(write=True).tags(Reference(scene.writer.host, REPOSITORY))) == {"1"}
            except RegistryError:
                return False  # it collects

        wait_until(only_kept, f"all that is loose goes: {scene.log[-1500:]}", 60)
        wait_until(lambda: not any(map(scene.pulled, loose)), f"their bytes go: {scene.log[-1500:]}", 60)
    assert loose
    assert all(seen), "readers never notice"


def test_a_second_keeper_waits_with_its_writer_until_the_first_is_gone(scene: Scene) -> None:
    kept = scene.push("kept", "1")
    scene.keep("app", f"{REPOSITORY}:1", kept)
    begin(scene)
    first = scene.keeper
    scene.start()
    assert first
    wait_until(lambda: "its writer is waited for" in scene.log, "the second one waits")
    first.kill()
    first.wait(10)
    wait_until(lambda: "its writer is waited for" in scene.log and listening(scene.writer.port), "it takes over")
    assert scene.keeper
    assert scene.keeper.poll() is None
    loose = scene.push_when_it_takes("loose", "loose")
    wait_until(lambda: not scene.pulled(loose, "loose"), f"it sweeps: {scene.log[-1500:]}", 60)
    assert scene.pulled(kept, "1")


def writers(keeper: "subprocess.Popen[bytes]") -> list[int]:
    """The keeper's children that serve, or are about to."""
    with suppress(OSError):
        children = map(int, Path(f"/proc/{keeper.pid}/task/{keeper.pid}/children").read_text().split())
        return [pid for pid in children if b"serve" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")]
    return []


def killed_writer(scene: Scene) -> None:
    """SIGKILL for the writer; its keeper ends, and comes again, unless it was about to stop the writer anyhow."""
    keeper = scene.keeper
    assert keeper
    wait_until(lambda: bool(writers(keeper)), f"a writer runs: {scene.log[-1500:]}")
    (pid,) = writers(keeper)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: keeper.poll() is not None or bool(set(writers(keeper)) - {pid}), "the keeper sees it")
    if keeper.poll() is not None:
        assert keeper.poll() == 137
        scene.start()


def test_a_writer_that_is_killed_ends_its_keeper_and_the_next_one_goes_on(scene: Scene) -> None:
    kept = scene.push("kept", "1", sparse=True)
    scene.keep("app", f"{REPOSITORY}:1", kept)
    begin(scene)
    for pause in (0.0, 1.2):
        time.sleep(pause)
        killed_writer(scene)
    loose = scene.push_when_it_takes("loose", "loose")
    wait_until(lambda: not scene.pulled(loose, "loose"), f"it sweeps: {scene.log[-1500:]}", 60)
    assert scene.pulled(kept, "1")
