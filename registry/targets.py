"""A registry as what images are copied to; an image layout folder is one too: `registry.layout_target`."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from typing import TypeVar

from registry.attached import fallback_tag
from registry.blobstream import BlobStream
from registry.client import Client
from registry.commons import Commons
from registry.contents import Contents
from registry.copy import Fetch
from registry.digest import Digest
from registry.errors import Corrupt, NotFound, ServerFailure
from registry.manifest import Descriptor, Manifest
from registry.proxied import inside
from registry.reference import Reference
from registry.uploads import Uploads, takes_none
from registry.verify import verified

_AT_ONCE = 8

T = TypeVar("T")


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
            and all(_looked_at(partial(self._has_manifest, place), parts.manifests[:-1]))
            and all(_looked_at(partial(self._has_blob, place), parts.blobs))
        )

    def read_blob(self, reference: Reference, blob: Descriptor) -> bytes:
        with self._client.open_blob(self._place(reference), blob.digest) as stream:
            return b"".join(verified(stream, blob.digest, blob.size))

    def put_blob(self, reference: Reference, blob: Descriptor, fetch: Fetch) -> None:
        """Mounts what other images have there; goes on with what was interrupted while this target lives."""
        self._uploads.put(self._place(reference), blob, fetch)

    def put_manifest(self, reference: Reference, manifest: Manifest) -> None:
        self._push(self._place(reference).with_digest(manifest.digest), manifest)

    def tag(self, reference: Reference, parts: Contents) -> None:
        """Set the tag, then check that no collection came in between: it is to be copied again if one did.

        What the tag named before gets an anchor first, as pods may still need that digest.
        """
        place = self._place(reference)
        self._anchor(replace(place, tag=reference.anchor, digest=None), parts.manifests[-1].digest)
        self._push(replace(place, tag=reference.anchor, digest=None), parts.manifests[-1])
        there = (
            *_looked_at(partial(self._has_manifest, place), parts.manifests),
            *_looked_at(lambda blob: self._client.holds_blob(place, blob.digest), parts.blobs),
        )
        digests = [part.digest for part in parts.manifests] + [blob.digest for blob in parts.blobs]
        for digest, is_there in zip(digests, there, strict=True):
            if not is_there:
                raise ServerFailure(f"{digest} of {reference} vanished from the registry during the copy; try again")

    def _anchor(self, tag: Reference, digest: Digest) -> None:
        with suppress(NotFound, Corrupt):  # what was damaged can be served under no name
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

    def _push(self, place: Reference, manifest: Manifest) -> None:
        with takes_none(place.host):
            self._client.push_manifest(place, manifest)

    def _has_manifest(self, place: Reference, manifest: Manifest) -> bool:
        return self._named(place.with_digest(manifest.digest)) == manifest.digest

    def _has_blob(self, place: Reference, blob: Descriptor) -> bool:
        return self._client.has_blob(place, blob.digest) == blob.size

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


def _looked_at(look: Callable[[T], bool], parts: Sequence[T]) -> Iterator[bool]:
    """What `look` says of each part, several at a time; none any more once nobody wants to know."""
    with ThreadPoolExecutor(max(1, min(_AT_ONCE, len(parts))), thread_name_prefix="look") as pool:
        try:
            yield from pool.map(look, parts)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
