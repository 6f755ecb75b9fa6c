"""What was attached to an image, under its tags: signatures and referrers go with the image, over an air gap too."""

from collections.abc import Iterator
from contextlib import suppress

from registry.attached import cosign_tags, fallback_tag, subject_of
from registry.copy import Source
from registry.digest import Digest
from registry.errors import NotFound, Unauthorized
from registry.reference import Reference


def attached(reference: Reference) -> bool:
    """Whether a name is that of something attached to an image, and no image's own."""
    return reference.digest is None and reference.tag is not None and subject_of(reference.tag) is not None


def beside(source: Source, image: Reference) -> Iterator[Reference]:
    """The names of what a source has beside an image, and beside those of its platforms that are there."""
    root = source.manifest(image)
    for digest in (root.digest, *(child.digest for child in root.manifests)):
        if digest == root.digest or _has(source, image.with_digest(digest)):
            yield from (one for one in _names(image, digest) if _has(source, one))


def _names(image: Reference, digest: Digest) -> Iterator[Reference]:
    for tag in (fallback_tag(digest), *cosign_tags(digest)):
        yield Reference(image.host, image.repository, tag)


def _has(source: Source, reference: Reference) -> bool:
    with suppress(NotFound, Unauthorized):
        source.manifest(reference)
        return True
    return False
