"""Tar archives as strangers make them."""

import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from registry.layout_index import REF_NAME
from tests.rig.images import BuiltImage

LAYOUT = ("oci-layout", b'{"imageLayoutVersion": "1.0.0"}')


def blobs_of(built: BuiltImage) -> list[tuple[str, bytes]]:
    found = {**built.blobs, **{digest: raw for digest, (_, raw) in built.manifests.items()}}
    return [(f"blobs/{digest.algorithm}/{digest.hex}", content) for digest, content in found.items()]


def index_of(named: Mapping[str, BuiltImage], annotation: str = REF_NAME) -> tuple[str, bytes]:
    entries = [
        {
            "mediaType": built.media_type,
            "digest": str(built.digest),
            "size": len(built.raw),
            "annotations": {annotation: name},
        }
        for name, built in named.items()
    ]
    return "index.json", json.dumps({"schemaVersion": 2, "manifests": entries}).encode()


def files_of(named: Mapping[str, BuiltImage]) -> list[tuple[str, bytes]]:
    blobs = dict(entry for built in named.values() for entry in blobs_of(built))
    return [LAYOUT, index_of(named), *blobs.items()]


def archive(path: Path, files: Iterable[tuple[str, bytes]], *more: tarfile.TarInfo, **options: Any) -> Path:
    """A tar archive of these files, and of members without content."""
    with tarfile.open(path, "w", **options) as tar:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for info in more:
            tar.addfile(info)
    return path


def link(name: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "/etc/passwd"
    return info
