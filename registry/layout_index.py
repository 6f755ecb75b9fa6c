"""The index.json of an image layout (OCI image-spec, image-layout.md): the names of its images, as a value.

Entries and fields that kuik does not know are kept as they are.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from registry.digest import Digest, InvalidDigest
from registry.errors import Corrupt
from registry.manifest import OCI_INDEX, Descriptor
from registry.reference import InvalidReference, Reference

REF_NAME = "org.opencontainers.image.ref.name"
_EMPTY: Mapping[str, Any] = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}


@dataclass(frozen=True)
class LayoutIndex:
    """An index.json that was read: `references` are the images that kuik can name, `roots` all that is named at all."""

    document: Mapping[str, Any]
    references: Mapping[Reference, Descriptor] = field(init=False)
    roots: tuple[Descriptor, ...] = field(init=False)

    def __post_init__(self) -> None:
        entries = _entries(self.document)
        roots = tuple(_descriptor(entry) for entry in entries)
        named: dict[Reference, Descriptor] = {}
        for entry, root in zip(entries, roots, strict=True):
            reference = _reference(entry)
            if reference:
                named.setdefault(reference, root)  # of two entries with a name other tools, too, take the first
        object.__setattr__(self, "references", named)
        object.__setattr__(self, "roots", roots)

    @classmethod
    def empty(cls) -> Self:
        """The index of a new layout."""
        return cls(_EMPTY)

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Read the bytes of an index.json; raises Corrupt."""
        try:
            document = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise Corrupt("the layout's index.json is not valid JSON") from error
        if not isinstance(document, dict):
            raise Corrupt("the layout's index.json is not a JSON object")
        return cls(document)

    def with_tag(self, reference: Reference, root: Descriptor) -> "LayoutIndex":
        """The index where `reference` names `root`."""
        entry = {
            "mediaType": root.media_type,
            "digest": str(root.digest),
            "size": root.size,
            "annotations": {REF_NAME: str(reference)},
        }
        return self._with([*self._others(reference), entry])

    def without(self, reference: Reference) -> "LayoutIndex":
        """The index where `reference` names nothing."""
        return self._with(self._others(reference))

    def encode(self) -> bytes:
        """The file's bytes."""
        return json.dumps(self.document, indent=1).encode()

    def _with(self, entries: list[Mapping[str, Any]]) -> "LayoutIndex":
        return LayoutIndex({**self.document, "manifests": entries})

    def _others(self, reference: Reference) -> list[Mapping[str, Any]]:
        return [entry for entry in _entries(self.document) if _reference(entry) != reference]


def _entries(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    entries = document.get("manifests")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise Corrupt("the layout's index.json has no list of manifests")
    return entries


def _descriptor(entry: Mapping[str, Any]) -> Descriptor:
    size = entry.get("size")
    if not isinstance(size, int) or size < 0:
        raise Corrupt("an entry of the layout's index.json has no size in bytes")
    try:
        digest = Digest.parse(str(entry.get("digest")))
    except InvalidDigest as error:
        raise Corrupt(f"an entry of the layout's index.json: {error}") from error
    return Descriptor(str(entry.get("mediaType", "")), digest, size)


def _reference(entry: Mapping[str, Any]) -> Reference | None:
    annotations = entry.get("annotations")
    name = annotations.get(REF_NAME) if isinstance(annotations, dict) else None
    if not isinstance(name, str):
        return None
    try:
        reference = Reference.parse(name)
    except InvalidReference:
        return None
    return reference if str(reference) == name else None  # `latest` alone is another tool's name, not Docker Hub's
