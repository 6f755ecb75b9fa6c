"""Garbage in a folder of blobs: what no root leads to. Doubt deletes nothing."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from registry.blobs import BlobFolder
from registry.contents import contents
from registry.digest import Digest
from registry.errors import Corrupt, NotFound, RegistryError
from registry.manifest import Descriptor, Manifest

FRESH = 24 * 3600.0
"""Seconds for which an interrupted transfer is kept, so that it can be resumed."""

Load = Callable[[Digest, str], Manifest]
"""Gives the stored manifest of a digest, read as a media type; raises NotFound, Corrupt."""


class StoreBusy(RegistryError):
    """Copies are under way."""

    temporary = True
    reason = "StoreBusy"


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection deleted; `bytes` counts interrupted transfers and damaged blobs too."""

    blobs: int = 0
    bytes: int = 0


def collect(blobs: BlobFolder, roots: Iterable[Descriptor], load: Load, before: float) -> Collected:
    """Delete what no root leads to, and interrupted transfers and damaged blobs put aside before `before` (Unix time).

    Raises Corrupt, and deletes nothing, when a root is missing or any manifest that roots lead to is damaged.
    """
    keep = mark(roots, load)
    freed = [blobs.remove(digest) for digest in list(blobs.digests()) if digest not in keep]
    return Collected(len(freed), sum(freed) + blobs.discard_partials(before) + blobs.discard_damaged(before))


def mark(roots: Iterable[Descriptor], load: Load) -> set[Digest]:
    """Every digest that the roots lead to, with all platforms that are there; raises Corrupt."""
    kept: set[Digest] = set()
    for root in roots:
        kept |= _behind(root, load)
    return kept


def _behind(root: Descriptor, load: Load) -> set[Digest]:
    def child(descriptor: Descriptor) -> Manifest | None:
        try:
            return load(descriptor.digest, descriptor.media_type)
        except NotFound:  # of a sparse index
            return None

    try:
        parts = contents(load(root.digest, root.media_type), frozenset(), child)
    except (NotFound, Corrupt) as error:
        raise Corrupt(f"nothing is deleted, since the stored image {root.digest} is damaged: {error}") from error
    descriptors = (*parts.blobs, *parts.others)
    return {*parts.absent, *(m.digest for m in parts.manifests), *(d.digest for d in descriptors)}
