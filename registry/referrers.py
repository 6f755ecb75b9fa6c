"""What refers to an image at its source: signatures, attestations, SBOMs, found in the two ways that they are kept."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from registry.attached import cosign_tags, fallback_tag
from registry.digest import Digest
from registry.errors import Corrupt, NotFound, Unauthorized, Unsupported
from registry.manifest import OCI_INDEX, Manifest, parse_manifest
from registry.reference import Reference

MOST = 200
"""Manifests that are kept beside one image."""
_ABSENT = (NotFound, Unauthorized, Unsupported)
"""What registries say where they do not have it, or do not know the question."""


@runtime_checkable
class Refers(Protocol):
    """A source that can be asked what refers to a digest."""

    def manifest(self, reference: Reference, /) -> Manifest: ...
    def referrers(self, reference: Reference, /) -> bytes:
        """The index of what refers to the reference's digest, as the API gives it or the fallback tag holds it."""


@dataclass(frozen=True, slots=True)
class Attached:
    """A tag to set beside an image, and what it names, with what that needs before it."""

    tag: str
    manifests: tuple[Manifest, ...]


def attached_to(reference: Reference, digests: Iterable[Digest], source: Refers) -> Iterator[Attached]:
    """What is attached to any of an image's `digests`, one after the other; nothing where nothing is.

    Raises Unsupported where it is too much, and what is temporary. What refers to something attached is not looked for.
    """
    left = MOST
    for digest in digests:
        for found in (_referring(reference, digest, source), *_by_cosign(reference, digest, source)):
            if found is None:
                continue
            left -= len(found.manifests)
            if left < 0:
                raise Unsupported(f"more than {MOST} manifests refer to {reference}")
            yield found


def _referring(reference: Reference, digest: Digest, source: Refers) -> Attached | None:
    place = reference.with_digest(digest)
    index = _index(place, digest, source)
    if index is None or not index.is_index or not index.manifests:
        return None
    if len(index.manifests) > MOST:
        raise Unsupported(f"more than {MOST} manifests refer to {place}")
    children = []
    for child in index.manifests:
        manifest = source.manifest(reference.with_digest(child.digest))
        if manifest.digest != child.digest:
            raise Corrupt(f"manifest {child.digest} of {reference} came as {manifest.digest}")
        children.append(manifest)
    return Attached(fallback_tag(digest), (*children, index))


def _index(place: Reference, digest: Digest, source: Refers) -> Manifest | None:
    """By the API where it is known, else by the fallback tag."""
    with suppress(*_ABSENT):
        return parse_manifest(source.referrers(place), OCI_INDEX)
    with suppress(*_ABSENT):
        return source.manifest(Reference(place.host, place.repository, fallback_tag(digest)))
    return None


def _by_cosign(reference: Reference, digest: Digest, source: Refers) -> Iterator[Attached]:
    for tag in cosign_tags(digest):
        with suppress(*_ABSENT):
            manifest = source.manifest(Reference(reference.host, reference.repository, tag))
            if not manifest.is_index:
                yield Attached(tag, (manifest,))
