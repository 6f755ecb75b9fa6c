"""A registry whose writer is under a keeper's hand, with its account's rights on a real API server."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kuik.keeper import distribution
from kuik.keeper.distribution import USER
from registry.client import Client
from registry.credentials import Credentials
from registry.digest import Digest
from registry.errors import Corrupt, NotFound, RegistryError, ServerFailure
from registry.manifest import Descriptor, Manifest, parse_manifest
from registry.reference import Reference
from registry.transport import Transport, host_settings
from tests.cluster.rig.api import Object
from tests.cluster.rig.control_plane import ControlPlane
from tests.cluster.test_rights import account
from tests.dataplane.rig.distribution import READERS_TOKEN, WRITERS_TOKEN, Distribution
from tests.rig.built import program
from tests.rig.processes import wait_until

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


def writers(keeper: "subprocess.Popen[bytes]") -> list[int]:
    """The keeper's children that serve, or are about to."""
    with suppress(OSError):
        children = map(int, Path(f"/proc/{keeper.pid}/task/{keeper.pid}/children").read_text().split())
        return [pid for pid in children if b"serve" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")]
    return []
