"""Where images are exported from: a store on disk, and the registry that holds a cluster's copies."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Self

from kuik.archive.present import platforms_there
from registry.blobstream import BlobStream
from registry.client import Client
from registry.copy import Source
from registry.digest import Digest
from registry.errors import NotFound, Unauthorized
from registry.ingest import PIECE
from registry.layout import Layout
from registry.manifest import Descriptor, Manifest, Platform
from registry.proxied import inside
from registry.reference import Reference


@dataclass(frozen=True)
class LayoutSource:
    """The images of an image layout, by their own names."""

    layout: Layout

    def manifest(self, reference: Reference) -> Manifest:
        found = self.layout.resolve(reference)
        if found is None:
            raise NotFound(f"{reference} is not in the store {self.layout.root}")
        return self.layout.manifest(found.digest)

    @contextmanager
    def open_blob(self, _reference: Reference, digest: Digest, start: int = 0) -> Iterator[Iterator[bytes]]:
        with self.layout.blobs.open(digest) as file:
            file.seek(start)
            yield iter(lambda: file.read(PIECE), b"")


@dataclass(frozen=True)
class RegistrySource:
    """The copies in the registry at `host` (`name:port`), each in the repository that kuik keeps it in."""

    client: Client
    host: str
    private: bool = False

    def having(self, reference: Reference) -> Self:
        """The same registry, with private images if the image is one there; raises NotFound where it is neither."""
        try:
            self.manifest(reference)
        except (NotFound, Unauthorized) as error:
            other = replace(self, private=True)
            try:
                other.manifest(reference)
            except (NotFound, Unauthorized):
                raise error from None
            return other
        return self

    def manifest(self, reference: Reference) -> Manifest:
        place = inside(reference, self.host, private=self.private)
        return self.client.manifest(place if reference.digest else replace(place, tag=reference.anchor))

    def open_blob(self, reference: Reference, digest: Digest, start: int = 0) -> BlobStream:
        return self.client.open_blob(inside(reference, self.host, private=self.private), digest, start)


def kept_platforms(source: Source, reference: Reference) -> frozenset[Platform]:
    """The platforms of an image that a source has, empty for all of them; raises NotFound where it lacks every one."""

    def load(child: Descriptor) -> Manifest | None:
        try:
            return source.manifest(reference.with_digest(child.digest))
        except NotFound:
            return None

    here, missing = platforms_there(source.manifest(reference), load)
    if missing:
        raise NotFound(f"{reference} lacks the manifest {missing[0]}, and every other that its index names")
    return here
