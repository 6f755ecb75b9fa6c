"""Large images in a registry: incompressible layers, made and pushed one by one, so that memory stays small."""

import hashlib
import http.client
import io
import json
import random
import struct
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from urllib.parse import urlsplit

from registry.digest import Digest
from registry.manifest import OCI_INDEX, OCI_MANIFEST

_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_PLAIN_LAYER = "application/vnd.oci.image.layer.v1.tar"
_BLOCK = 1 << 20
_STORED = 0xFFFF
_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


def push_big(host: str, repository: str, tag: str, *, platforms: tuple[str, ...], layers: int, size: int) -> str:
    """Push an index of `platforms`, each of so many layers of about `size` bytes; returns the image's name."""
    with closing(http.client.HTTPConnection(host, timeout=120)) as connection:
        entries = [_push_image(connection, repository, platform, layers, size) for platform in platforms]
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
        _put_manifest(connection, repository, tag, OCI_INDEX, json.dumps(document).encode())
    return f"{host}/{repository}:{tag}"


def push_long(host: str, repository: str, tag: str, size: int) -> str:
    """Push an image of one layer of `size` bytes, which are made as they are sent; returns the image's name."""
    sha256 = hashlib.sha256()
    for piece in _random(size):
        sha256.update(piece)
    layer = Digest("sha256", sha256.hexdigest())
    with closing(http.client.HTTPConnection(host, timeout=120)) as connection:
        config = _put_blob(connection, repository, _CONFIG, b'{"os": "linux", "architecture": "amd64"}')
        described = _send_blob(connection, repository, _PLAIN_LAYER, layer, size, _random(size))
        document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [described]}
        _put_manifest(connection, repository, tag, OCI_MANIFEST, json.dumps(document).encode())
    return f"{host}/{repository}:{tag}"


def _random(size: int) -> Iterator[bytes]:
    """The same bytes each time; no two blocks are equal."""
    block = random.Random(size).randbytes(_BLOCK)  # noqa: S311 - reproducible bytes
    for start in range(0, size, _BLOCK):
        yield (start.to_bytes(8, "big") + block[8:])[: size - start]


def _push_image(
    connection: http.client.HTTPConnection, repository: str, platform: str, layers: int, size: int
) -> dict[str, object]:
    system, architecture = platform.split("/")
    described, contents = [], []
    for number in range(layers):
        tar = _tar(f"{platform}/{number}", size)
        contents.append(str(Digest.of(tar)))
        described.append(_put_blob(connection, repository, _LAYER, b"".join(_gzip(tar))))
    config = {"os": system, "architecture": architecture, "rootfs": {"type": "layers", "diff_ids": contents}}
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": _put_blob(connection, repository, _CONFIG, json.dumps(config).encode()),
        "layers": described,
    }
    raw = json.dumps(manifest).encode()
    entry = _put_manifest(connection, repository, str(Digest.of(raw)), OCI_MANIFEST, raw)
    return {**entry, "platform": {"os": system, "architecture": architecture}}


def _tar(seed: str, size: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo("data")
        info.size = size
        tar.addfile(info, io.BytesIO(random.Random(seed).randbytes(size)))  # noqa: S311 - reproducible bytes
    return buffer.getvalue()


def _gzip(tar: bytes) -> Iterator[bytes]:
    """The tar as gzip that stores and does not compress (RFC 1951, 3.2.4): random bytes would only cost time."""
    yield _HEADER
    for start in range(0, len(tar), _STORED):
        piece = tar[start : start + _STORED]
        last = start + _STORED >= len(tar)
        yield struct.pack("<BHH", last, len(piece), len(piece) ^ _STORED)
        yield piece
    yield struct.pack("<II", zlib.crc32(tar), len(tar) & 0xFFFFFFFF)


def _put_blob(
    connection: http.client.HTTPConnection, repository: str, media_type: str, blob: bytes
) -> dict[str, object]:
    return _send_blob(connection, repository, media_type, Digest.of(blob), len(blob), blob)


def _send_blob(
    connection: http.client.HTTPConnection,
    repository: str,
    media_type: str,
    digest: Digest,
    size: int,
    content: bytes | Iterable[bytes],
) -> dict[str, object]:
    location = urlsplit(_call(connection, "POST", f"/v2/{repository}/blobs/uploads/", b"", {}, 202))
    query = f"{location.query}&digest={digest}" if location.query else f"digest={digest}"
    headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
    _call(connection, "PUT", f"{location.path}?{query}", content, headers, 201)
    return {"mediaType": media_type, "digest": str(digest), "size": size}


def _put_manifest(
    connection: http.client.HTTPConnection, repository: str, target: str, media_type: str, raw: bytes
) -> dict[str, object]:
    _call(connection, "PUT", f"/v2/{repository}/manifests/{target}", raw, {"Content-Type": media_type}, 201)
    return {"mediaType": media_type, "digest": str(Digest.of(raw)), "size": len(raw)}


def _call(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | Iterable[bytes],
    headers: Mapping[str, str],
    expected: int,
) -> str:
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    said = response.read()
    if response.status != expected:
        raise OSError(f"{method} {path}: {response.status} {said[:200]!r}")
    return response.headers.get("Location", "")
