"""Small images made on the spot, the same bytes for the same arguments: for the demo, the tests and the benchmarks."""

import gzip
import io
import json
import random
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from registry.digest import Digest
from registry.manifest import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Platform

_OCI = (
    OCI_MANIFEST,
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.oci.image.layer.v1.tar+gzip",
)
_DOCKER = (
    DOCKER_MANIFEST,
    "application/vnd.docker.container.image.v1+json",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
)


@dataclass(frozen=True)
class BuiltImage:
    """An image or index in memory: `raw` is its manifest, `manifests` holds it and its children, `blobs` the rest."""

    raw: bytes
    media_type: str
    digest: Digest
    manifests: Mapping[Digest, tuple[str, bytes]]
    blobs: Mapping[Digest, bytes]
    platform: Platform | None = None

    @property
    def size(self) -> int:
        """Bytes of all blobs."""
        return sum(len(blob) for blob in self.blobs.values())


def image(
    seed: object, *, layers: int = 2, layer_size: int = 4096, platform: str = "linux/amd64", docker: bool = False
) -> BuiltImage:
    """A runnable-looking image of `layers` layers, each of about `layer_size` incompressible bytes."""
    manifest_type, config_type, layer_type = _DOCKER if docker else _OCI
    target = Platform.parse(platform)
    tars = [_layer(f"{seed}/{platform}/{number}", layer_size) for number in range(layers)]
    packed = [gzip.compress(tar, compresslevel=1, mtime=0) for tar in tars]
    config = _json(
        {
            "architecture": target.architecture,
            "os": target.os,
            **({"variant": target.variant} if target.variant else {}),
            "config": {"Cmd": ["/bin/true"], "Labels": {"seed": str(seed)}},
            "rootfs": {"type": "layers", "diff_ids": [str(Digest.of(tar)) for tar in tars]},
            "history": [{"created_by": "kuik"} for _ in tars],
        }
    )
    raw = _json(
        {
            "schemaVersion": 2,
            "mediaType": manifest_type,
            "config": _descriptor(config_type, config),
            "layers": [_descriptor(layer_type, layer) for layer in packed],
        }
    )
    digest = Digest.of(raw)
    blobs = {Digest.of(blob): blob for blob in (config, *packed)}
    return BuiltImage(raw, manifest_type, digest, {digest: (manifest_type, raw)}, blobs, target)


def index(images: Sequence[BuiltImage], *, docker: bool = False) -> BuiltImage:
    """A multi-platform index over `images`."""
    media_type = DOCKER_LIST if docker else OCI_INDEX
    entries = [_descriptor(child.media_type, child.raw) | _platform(child.platform) for child in images]
    raw = _json({"schemaVersion": 2, "mediaType": media_type, "manifests": entries})
    digest = Digest.of(raw)
    manifests: dict[Digest, tuple[str, bytes]] = {digest: (media_type, raw)}
    blobs: dict[Digest, bytes] = {}
    for child in images:
        manifests.update(child.manifests)
        blobs.update(child.blobs)
    return BuiltImage(raw, media_type, digest, manifests, blobs)


def _layer(seed: str, size: int) -> bytes:
    content = random.Random(seed).randbytes(size)  # noqa: S311 - reproducible bytes are what is wanted here
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo(f"data/{seed.replace('/', '_')}")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def _descriptor(media_type: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": str(Digest.of(data)), "size": len(data)}


def _platform(platform: Platform | None) -> dict[str, Any]:
    if platform is None:
        return {}
    fields = {"os": platform.os, "architecture": platform.architecture, "variant": platform.variant}
    return {"platform": {name: value for name, value in fields.items() if value}}


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
