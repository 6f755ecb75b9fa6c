"""The two places that images are copied to: an image layout folder, and a registry."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import replace

from registry.attached import fallback_tag
from registry.blobstream import BlobStream
from registry.client import Client
from registry.commons import Commons
from registry.contents import Contents
from registry.copy import Fetch
from registry.digest import Digest
from registry.errors import Corrupt, NotFound, ServerFailure
from registry.ingest import Ingest
from registry.layout import Layout
from registry.manifest import Descriptor, Manifest, parse_manifest
from registry.proxied import inside
from registry.reference import Reference
from registry.uploads import Uploads
from registry.verify import verified


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


class RegistryTarget:
    """Keeps images in the registry at `host`, each in the repository `<its host>/<its repository>`.

    A private image's repository is below `private/`. An image's tag is its own, or an anchor tag `digest-<hex>` for one
    that is named by digest. The registry proves what it is sent, as the
    specification asks of it ("Pushing a blob monolithically"): bytes are not hashed here once more.
    """

    def __init__(self, client: Client, host: str, *, private: bool = False) -> None:
        self.host = host
        self._client = client
        self._uploads = Uploads(client, Commons(client, gives=not private))
        self._private = private

    def copying(self) -> AbstractContextManager[None]:
        """Nothing to hold: the registry's keeper refuses writes while it collects, and `tag` checks afterwards."""
        return nullcontext()

    def manifest(self, reference: Reference, child: Descriptor) -> Manifest | None:
        with suppress(NotFound):
            return self._client.manifest(self._place(reference).with_digest(child.digest))
        return None

    def holds(self, reference: Reference, parts: Contents) -> bool:
        place, root = self._place(reference), parts.manifests[-1]
        return (
            self._named(replace(place, tag=reference.anchor, digest=None)) == root.digest
            and all(self._named(place.with_digest(one.digest)) == one.digest for one in parts.manifests[:-1])
            and all(self._client.has_blob(place, blob.digest) == blob.size for blob in parts.blobs)
        )

    def read_blob(self, reference: Reference, blob: Descriptor) -> bytes:
        with self._client.open_blob(self._place(reference), blob.digest) as stream:
            return b"".join(verified(stream, blob.digest, blob.size))

    def put_blob(self, reference: Reference, blob: Descriptor, fetch: Fetch) -> None:
        """Mounts what other images have there; goes on with what was interrupted while this target lives."""
        self._uploads.put(self._place(reference), blob, fetch)

    def put_manifest(self, reference: Reference, manifest: Manifest) -> None:
        self._client.push_manifest(self._place(reference).with_digest(manifest.digest), manifest)

    def tag(self, reference: Reference, parts: Contents) -> None:
        """Set the tag, then check that no collection came in between: it is to be copied again if one did.

        What the tag named before gets an anchor first, as pods may still need that digest.
        """
        place = self._place(reference)
        self._anchor(replace(place, tag=reference.anchor, digest=None), parts.manifests[-1].digest)
        self._client.push_manifest(replace(place, tag=reference.anchor, digest=None), parts.manifests[-1])
        for manifest in parts.manifests:
            with _lost(manifest.digest, reference):
                self._client.head(place.with_digest(manifest.digest))
        for blob in parts.blobs:
            if self._client.has_blob(place, blob.digest) is None:
                raise _loss(blob.digest, reference)

    def _anchor(self, tag: Reference, digest: Digest) -> None:
        with suppress(NotFound):
            if self._client.head(tag).digest == digest:
                return
            before = self._client.manifest(tag)
            self._client.push_manifest(replace(tag, tag=tag.with_digest(before.digest).anchor), before)

    def attach(self, reference: Reference, tag: str, manifest: Manifest) -> None:
        """Set another tag in the image's repository, for what belongs to it."""
        self._client.push_manifest(replace(self._place(reference), tag=tag, digest=None), manifest)

    @property
    def stored(self) -> "Stored":
        """What is there, as a source."""
        return Stored(self._client, self.host, private=self._private)

    def _place(self, reference: Reference) -> Reference:
        return inside(reference, self.host, private=self._private)

    def _named(self, place: Reference) -> Digest | None:
        try:
            return self._client.head(place).digest
        except NotFound:
            return None


class Stored:
    """The images that a registry's volume holds, as a source for its siblings."""

    def __init__(self, client: Client, host: str, *, private: bool = False) -> None:
        self._client = client
        self._host = host
        self._private = private

    def manifest(self, reference: Reference) -> Manifest:
        place = inside(reference, self._host, private=self._private)
        return self._client.manifest(place if place.digest else replace(place, tag=reference.anchor))

    def referrers(self, reference: Reference) -> bytes:
        """What the fallback tag holds: that is where copies keep it."""
        assert reference.digest  # noqa: S101 - what refers to a tag is no question
        return self.manifest(replace(reference, tag=fallback_tag(reference.digest), digest=None)).raw

    def open_blob(self, reference: Reference, digest: Digest, start: int = 0) -> BlobStream:
        return self._client.open_blob(inside(reference, self._host, private=self._private), digest, start)


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


@contextmanager
def _lost(digest: Digest, reference: Reference) -> Iterator[None]:
    try:
        yield
    except NotFound as error:
        raise _loss(digest, reference) from error


def _loss(digest: Digest, reference: Reference) -> ServerFailure:
    return ServerFailure(f"{digest} of {reference} vanished from the registry during the copy; try again")
