"""The index.json of an archive: which images it names, and how they are kept."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from registry.errors import Corrupt
from registry.layout_index import REF_NAME, LayoutIndex
from registry.manifest import OCI_INDEX, Descriptor
from registry.reference import InvalidReference, Reference

PRIVATE = "kuik.dev/private"
"""On an entry: the image was kept as a private one, and is to be kept as one again."""

_CONTAINERD_NAME = "io.containerd.image.name"
"""Where BuildKit and containerd write an image's whole name; their `ref.name` is the tag alone."""


@dataclass(frozen=True, slots=True)
class Named:
    """An image in an archive."""

    reference: Reference
    root: Descriptor
    private: bool = False


def encoded(images: Iterable[Named]) -> bytes:
    """An index.json that names these images, in the order of their names."""
    entries = [_entry(one) for one in sorted(images, key=lambda one: str(one.reference))]
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}, indent=1).encode()


def read(raw: bytes, name_all: Reference | None = None) -> tuple[Named, ...]:
    """The images that an index.json names by names that are whole; raises Corrupt.

    `name_all` names the one image of an archive that has a single entry, whatever it is called there.
    """
    index = LayoutIndex.parse(raw)
    found: dict[Reference, Named] = {}
    for entry, root in zip(index.document["manifests"], index.roots, strict=True):
        said = entry.get("annotations")
        said = said if isinstance(said, dict) else {}
        reference = name_all or _name(said)
        if reference is None:
            continue
        if reference in found and found[reference].root.digest != root.digest:
            raise Corrupt(f"the archive holds two images called {reference}")
        found[reference] = Named(reference, root, said.get(PRIVATE) == "true")
    return tuple(found.values())


def _entry(one: Named) -> Mapping[str, Any]:
    private = {PRIVATE: "true"} if one.private else {}
    return {
        "mediaType": one.root.media_type,
        "digest": str(one.root.digest),
        "size": one.root.size,
        "annotations": {REF_NAME: str(one.reference), **private},
    }


def _name(said: Mapping[str, Any]) -> Reference | None:
    for key in (REF_NAME, _CONTAINERD_NAME):
        text = said.get(key)
        if isinstance(text, str):
            try:
                reference = Reference.parse(text)
            except InvalidReference:
                continue
            if str(reference) == text:  # `latest` alone is a tag, and no name of Docker Hub's
                return reference
    return None
