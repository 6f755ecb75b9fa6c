"""Manifests, indexes and descriptors (OCI image-spec; Docker image manifest v2 schema 2), read and never changed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from registry.digest import Digest, InvalidDigest
from registry.errors import Corrupt, Unsupported

MAX_MANIFEST = 4 * 1024 * 1024
"""Bytes that a manifest may have: what the distribution-spec asks registries to accept at least."""

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"

INDEX_TYPES = frozenset({OCI_INDEX, DOCKER_LIST})
MANIFEST_TYPES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
ACCEPT = ", ".join((OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST))
_MAX_ENTRIES = 10_000


@dataclass(frozen=True, slots=True, order=True)
class Platform:
    """What an image runs on, such as `linux/arm64/v8`."""

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `os/architecture[/variant]`; raises ValueError."""
        parts = text.strip().lower().split("/")
        if len(parts) not in (2, 3) or not all(parts):
            raise ValueError(f"platform {text!r}: write it as os/architecture[/variant], for example linux/arm64")
        return cls(*parts)

    def satisfies(self, wanted: "Platform") -> bool:
        """Whether an image for this platform serves `wanted`; a variant that `wanted` leaves out is any variant."""
        if (self.os, self.architecture) != (wanted.os, wanted.architecture):
            return False
        return not wanted.variant or self._full_variant == wanted._full_variant

    @property
    def _full_variant(self) -> str:
        return self.variant or {"arm64": "v8", "arm": "v7"}.get(self.architecture, "")

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a manifest says of a blob or of another manifest. `size` is in bytes."""

    media_type: str
    digest: Digest
    size: int
    platform: Platform | None = None
    urls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Manifest:
    """One manifest or index with the exact bytes it was read from.

    An index has `manifests`; an image or artifact has `config` and `layers`; both may have a `subject`.
    """

    raw: bytes
    media_type: str
    digest: Digest
    manifests: tuple[Descriptor, ...] = ()
    config: Descriptor | None = None
    layers: tuple[Descriptor, ...] = ()
    subject: Descriptor | None = None

    @property
    def is_index(self) -> bool:
        return self.media_type in INDEX_TYPES

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """Config and layers, each digest once, in the manifest's order."""
        every = ((self.config,) if self.config else ()) + self.layers
        return tuple({blob.digest: blob for blob in every}.values())

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(self.media_type, self.digest, len(self.raw))


def parse_manifest(raw: bytes, media_type: str = "", expected: Digest | None = None) -> Manifest:
    """Read the bytes of a manifest or index.

    `media_type` is what the registry called it; the document's own `mediaType` and shape decide where that says
    nothing. Raises Corrupt when the bytes do not match `expected`, are too large or are no manifest, and Unsupported
    for Docker schema 1.
    """
    if len(raw) > MAX_MANIFEST:
        raise Corrupt(f"the manifest has {len(raw)} bytes; kuik reads at most {MAX_MANIFEST}")
    digest = Digest.of(raw, expected.algorithm if expected else "sha256")
    if expected and digest != expected:
        raise Corrupt(f"the manifest's bytes have digest {digest}, not {expected}")
    document = _document(raw)
    kind = manifest_type(document, media_type)
    if kind in INDEX_TYPES:
        entries = _descriptors(document, "manifests")
        return Manifest(raw, kind, digest, manifests=entries, subject=_optional(document, "subject"))
    return Manifest(
        raw,
        kind,
        digest,
        config=_optional(document, "config"),
        layers=_descriptors(document, "layers"),
        subject=_optional(document, "subject"),
    )


def manifest_type(document: Mapping[str, Any], declared: str = "") -> str:
    """The media type of a parsed manifest; raises Unsupported or Corrupt when it is none that kuik knows."""
    if document.get("schemaVersion") == 1:
        raise Unsupported("the image is in Docker schema 1, which is no longer served anywhere: rebuild it")
    if "manifests" in document and ("layers" in document or "config" in document):
        raise Corrupt("the document is an index and an image at once, which different clients read differently")
    own = document.get("mediaType")
    own = own if isinstance(own, str) else ""
    for candidate in (own, declared.partition(";")[0].strip()):
        if candidate in INDEX_TYPES or candidate in MANIFEST_TYPES:
            return candidate
    if isinstance(document.get("manifests"), list):
        return OCI_INDEX
    if isinstance(document.get("layers"), list) or isinstance(document.get("config"), dict):
        return OCI_MANIFEST
    raise Corrupt(f"the document is no image manifest or index (mediaType {(own or declared)[:80]!r})")


def _document(raw: bytes) -> dict[str, Any]:
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Corrupt("the manifest is not valid JSON") from error
    if not isinstance(document, dict):
        raise Corrupt("the manifest is not a JSON object")
    return document


def _optional(document: Mapping[str, Any], field: str) -> Descriptor | None:
    value = document.get(field)
    return None if value is None else _descriptor(value, field)


def _descriptors(document: Mapping[str, Any], field: str) -> tuple[Descriptor, ...]:
    entries = document.get(field) or []
    if not isinstance(entries, list) or len(entries) > _MAX_ENTRIES:
        raise Corrupt(f"the manifest's {field} is not a list of at most {_MAX_ENTRIES} entries")
    return tuple(_descriptor(entry, f"{field}[{position}]") for position, entry in enumerate(entries))


def _descriptor(value: Any, field: str) -> Descriptor:
    if not isinstance(value, dict):
        raise Corrupt(f"the manifest's {field} is not an object")
    size = value.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise Corrupt(f"the manifest's {field}.size is not a size in bytes")
    try:
        digest = Digest.parse(str(value.get("digest")))
    except InvalidDigest as error:
        raise Corrupt(f"the manifest's {field}.digest: {error}") from error
    urls = value.get("urls") or []
    return Descriptor(
        media_type=str(value.get("mediaType", "")),
        digest=digest,
        size=size,
        platform=_platform(value.get("platform")),
        urls=tuple(str(url) for url in urls) if isinstance(urls, list) else (),
    )


def _platform(value: Any) -> Platform | None:
    if not isinstance(value, dict):
        return None
    return Platform(str(value.get("os", "")), str(value.get("architecture", "")), str(value.get("variant") or ""))
