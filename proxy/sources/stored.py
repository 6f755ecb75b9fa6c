"""An OCI image layout folder as a source: local mode's registry."""

from dataclasses import dataclass

from proxy.errors import BlobUnknown
from proxy.path import Kind
from proxy.sources.message import BLOB_TYPE, Answer, Request, manifest_answer, tag_list
from proxy.span import span_of
from proxy.stream import Body, FileBody, NoBody
from registry.digest import Digest
from registry.errors import NotFound
from registry.layout import Layout


@dataclass(frozen=True)
class Stored:
    """Images of a layout by tag and by digest, blobs by digest, and the tags; it is read and never written."""

    layout: Layout
    name: str = "registry"

    def peer(self, _request: Request, /) -> str:
        """Nobody: a folder answers at once."""
        return ""

    def fetch(self, request: Request) -> Answer:
        """The answer; raises NotFound where the layout has no such thing, and for all that is asked for as private."""
        if request.route.private:
            raise NotFound(f"{request.route}: this store keeps nothing apart as private")
        match request.kind:
            case Kind.MANIFEST:
                return self._manifest(request)
            case Kind.BLOB if request.route.digest:
                return self._blob(request, request.route.digest)
            case Kind.TAGS:
                return self._tags(request)
        raise NotFound(f"{request.route}: the store answers no such question")

    def _manifest(self, request: Request) -> Answer:
        descriptor = self.layout.resolve(request.route.reference)
        digest = descriptor.digest if descriptor else request.route.digest
        if digest is None:
            raise NotFound(f"{request.route} is not in the store")
        manifest = self.layout.manifest(digest)
        return manifest_answer(request, manifest.descriptor, manifest.raw)

    def _blob(self, request: Request, digest: Digest) -> Answer:
        size = self.layout.blobs.size(digest)
        if size is None:
            raise BlobUnknown(f"{request.route} is not in the store")
        span = span_of(request.range, size)
        body: Body = NoBody() if request.is_head else FileBody(self.layout.blobs.open(digest), span)
        return Answer(body, size, BLOB_TYPE, digest, span if request.range else None)

    def _tags(self, request: Request) -> Answer:
        here = request.route.reference.name
        tags = [reference.tag for reference in self.layout.references() if reference.name == here and reference.tag]
        if not tags:
            raise NotFound(f"{request.route}: the store has nothing of this repository")
        return tag_list(request, tags)
