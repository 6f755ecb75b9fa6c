"""A registry in memory: the part of the client that copies use, which counts, damages, breaks and waits as told."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from registry.digest import Digest
from registry.errors import NotFound, Unreachable
from registry.manifest import Manifest, parse_manifest
from registry.reference import Reference
from tests.rig.images import BuiltImage

PIECE = 1000


class MemorySource:
    def __init__(self) -> None:
        self.tags: dict[str, Digest] = {}
        self.manifests: dict[Digest, tuple[str, bytes]] = {}
        self.blobs: dict[Digest, bytes] = {}
        self.manifest_requests: list[str] = []
        self.blob_requests: list[tuple[Digest, int]] = []
        self.breaks: dict[Digest, int] = {}
        """Blobs whose transfer breaks after so many bytes."""
        self.on_open: Callable[[Digest], object] = lambda _digest: None
        self.on_piece: Callable[[Digest, int], object] = lambda _digest, _position: None

    def add(self, built: BuiltImage, name: str) -> Reference:
        """Serve the image under this name; the blobs of one digest are shared, as in a registry."""
        reference = Reference.parse(name)
        self.tags[str(reference)] = built.digest
        self.manifests.update(built.manifests)
        self.blobs.update(built.blobs)
        return reference

    def manifest(self, reference: Reference) -> Manifest:
        self.manifest_requests.append(reference.target)
        digest = reference.digest or self.tags.get(str(reference))
        if digest not in self.manifests:
            raise NotFound(f"{reference} is not there")
        media_type, raw = self.manifests[digest]
        return parse_manifest(raw, media_type)

    @contextmanager
    def open_blob(self, reference: Reference, digest: Digest, start: int = 0) -> Iterator[Iterable[bytes]]:
        self.blob_requests.append((digest, start))
        self.on_open(digest)
        if digest not in self.blobs:
            raise NotFound(f"blob {digest} is not there")
        yield self._pieces(digest, start)

    def _pieces(self, digest: Digest, start: int) -> Iterator[bytes]:
        content = self.blobs[digest]
        end = min(len(content), self.breaks.get(digest, len(content)))
        for position in range(start, end, PIECE):
            self.on_piece(digest, position)
            yield content[position : min(position + PIECE, end)]
        if end < len(content):
            raise Unreachable(f"blob {digest} broke after {end} bytes")
