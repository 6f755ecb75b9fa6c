"""Images that run: Debian's static busybox in one layer that all share, and a layer of their own."""

import gzip
import io
import json
import random
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from registry.digest import Digest
from registry.manifest import OCI_MANIFEST, Platform
from tests.rig.images import BuiltImage
from tests.rig.processes import find

_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
SLEEP = ("/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 3600 & wait; done")
"""Runs until it is told to end, and then ends at once."""


def runnable(seed: object, *, command: tuple[str, ...] = SLEEP, size: int = 4096) -> BuiltImage:
    """An image whose container runs `command`, by itself a process that waits; about `size` bytes are its own."""
    busybox = Path(find("busybox") or "/bin/busybox").read_bytes()
    base = _tar({"bin/busybox": busybox}, links={f"bin/{name}": "busybox" for name in ("sh", "sleep", "cat", "nc")})
    own = _tar({"seed": random.Random(str(seed)).randbytes(size)})  # noqa: S311  reproducible bytes are wanted
    said = {"Cmd": list(command), "Env": ["PATH=/bin"], "Labels": {"seed": str(seed)}}
    return _image([base, own], said)


def bare(seed: object) -> BuiltImage:
    """An image with one file of data: no shell, no command, and nothing that could run; its user is root."""
    return _image([_tar({"data": random.Random(str(seed)).randbytes(4096)})], {})  # noqa: S311  as above


def archive(built: BuiltImage, name: str, file: Path) -> Path:
    """Write an image as an OCI archive, which containerd imports under that name."""
    entry = _descriptor(built.media_type, built.raw) | {"annotations": {"io.containerd.image.name": name}}
    files = {
        "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
        "index.json": _json({"schemaVersion": 2, "manifests": [entry]}),
    }
    blobs = {**built.blobs, built.digest: built.raw}
    file.write_bytes(_tar(files | {f"blobs/sha256/{digest.hex}": blob for digest, blob in blobs.items()}))
    return file


def _image(tars: Sequence[bytes], said: Mapping[str, object]) -> BuiltImage:
    layers = [gzip.compress(tar, compresslevel=1, mtime=0) for tar in tars]
    rootfs = {"type": "layers", "diff_ids": [str(Digest.of(tar)) for tar in tars]}
    config = _json({"architecture": "amd64", "os": "linux", "config": said, "rootfs": rootfs})
    named = [_descriptor(_LAYER, layer) for layer in layers]
    raw = _json(
        {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": _descriptor(_CONFIG, config), "layers": named}
    )
    digest = Digest.of(raw)
    blobs = {Digest.of(blob): blob for blob in (config, *layers)}
    return BuiltImage(raw, OCI_MANIFEST, digest, {digest: (OCI_MANIFEST, raw)}, blobs, Platform.parse("linux/amd64"))


def _tar(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o755
            tar.addfile(info, io.BytesIO(content))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return buffer.getvalue()


def _descriptor(media_type: str, data: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": str(Digest.of(data)), "size": len(data)}


def _json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
