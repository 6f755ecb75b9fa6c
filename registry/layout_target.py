"""An image layout folder as what images are copied to."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

from registry.contents import Contents
from registry.copy import Fetch
from registry.digest import Digest
from registry.errors import Corrupt, NotFound, ServerFailure
from registry.ingest import Ingest
from registry.layout import Layout
from registry.manifest import Descriptor, Manifest, parse_manifest
from registry.reference import Reference


class LayoutTarget:
    """Keeps images in an image layout, under their own names."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def copying(self) -> AbstractContextManager[None]:
        return self._layout.copying()

    def manifest(self, _reference: Reference, child: Descriptor) -> Manifest | None:
        """A stored manifest, or None; one whose bytes were damaged on the disk counts as not there."""
        with suppress(NotFound, Corrupt):
            return parse_manifest(self._read(child.digest), child.media_type, child.digest)
        return None

    def read_blob(self, _reference: Reference, blob: Descriptor) -> bytes:
        return self._read(blob.digest)

    def put_blob(self, _reference: Reference, blob: Descriptor, fetch: Fetch) -> None:
        """Resumes what was interrupted; where that proves damaged, begins once more at zero."""
        with self._layout.blobs.ingest(blob.digest, blob.size) as ingest:
            resumed = ingest.offset > 0
            try:
                with _discarding(ingest):
                    return _fill(ingest, fetch)
            except Corrupt:
                if not resumed:
                    raise
        with self._layout.blobs.ingest(blob.digest, blob.size) as ingest, _discarding(ingest):
            return _fill(ingest, fetch)

    def put_manifest(self, _reference: Reference, manifest: Manifest) -> None:
        """Heals a stored manifest whose bytes were damaged on the disk."""
        with suppress(NotFound):
            if self._read(manifest.digest) != manifest.raw:
                self._layout.blobs.remove(manifest.digest)
        self._layout.blobs.put(manifest.digest, manifest.raw)

    def holds(self, _reference: Reference, _parts: Contents) -> bool:
        """Never sure: bytes that the disk damaged are found, and healed, only by going through all parts."""
        return False

    def tag(self, reference: Reference, parts: Contents) -> None:
        blobs = self._layout.blobs
        lost = [manifest.digest for manifest in parts.manifests if blobs.size(manifest.digest) is None]
        lost += self._layout.lacking(parts.blobs)
        if lost:
            raise ServerFailure(f"{lost[0]} of {reference} vanished from the store during the copy; try again")
        self._layout.tag(reference, parts.manifests[-1])

    def _read(self, digest: Digest) -> bytes:
        with self._layout.blobs.open(digest) as file:
            return file.read()


def _fill(ingest: Ingest, fetch: Fetch) -> None:
    if ingest.done:
        return
    if ingest.offset != ingest.size:  # else all bytes came before, or there are none: only their proof is left
        with fetch(ingest.offset) as pieces:
            for piece in pieces:
                ingest.write(piece)
    ingest.commit()


@contextmanager
def _discarding(ingest: Ingest) -> Iterator[None]:
    try:
        yield
    except Corrupt:
        ingest.discard()
        raise
