"""The registry that the image comes from, asked directly: with the client's token dance, by default anonymously."""

from dataclasses import dataclass

from proxy.errors import BlobUnknown, RangeNotSatisfiable
from proxy.path import Kind
from proxy.sources.message import BLOB_TYPE, Answer, Request, manifest_answer, tag_list
from proxy.stream import BytesBody, NoBody, PiecesBody, cut
from registry.client import Client
from registry.digest import Digest
from registry.errors import NotFound
from registry.manifest import OCI_INDEX


@dataclass(frozen=True)
class Upstream:
    """The last resort of the node proxy, and how the shield asks for what it does not keep."""

    client: Client
    name: str = "upstream"

    def peer(self, request: Request, /) -> str:
        """The registry."""
        return request.route.host

    def fetch(self, request: Request) -> Answer:
        """The answer; raises RegistryError."""
        match request.kind:
            case Kind.MANIFEST:
                return self._manifest(request)
            case Kind.BLOB if request.route.digest:
                return self._blob(request, request.route.digest)
            case Kind.TAGS:
                return self._tags(request)
            case Kind.REFERRERS:
                return self._referrers(request)
        raise NotFound(f"{request.route}: kuik does not ask upstream for this")

    def _manifest(self, request: Request) -> Answer:
        if request.is_head:
            return manifest_answer(request, self.client.head(request.route.reference), None)
        manifest = self.client.manifest(request.route.reference)
        return manifest_answer(request, manifest.descriptor, manifest.raw)

    def _blob(self, request: Request, digest: Digest) -> Answer:
        if request.is_head or (request.range and request.range.first < 0):
            return self._blob_of_known_size(request, digest)
        return self._open(request, digest, None)

    def _blob_of_known_size(self, request: Request, digest: Digest) -> Answer:
        """HEAD, and the last bytes of a blob, which only who knows its size can ask for."""
        size = self.client.has_blob(request.route.reference, digest)
        if size is None:
            raise BlobUnknown(f"{request.route}: {request.route.host} has no such blob")
        if not request.is_head:
            return self._open(request, digest, size)
        return Answer(NoBody(), size, BLOB_TYPE, digest, request.range.within(size) if request.range else None)

    def _open(self, request: Request, digest: Digest, size: int | None) -> Answer:
        wanted, reference = request.range, request.route.reference
        start = 0 if wanted is None else wanted.first if size is None else wanted.within(size).start
        stream = self.client.open_blob(reference, digest, start)
        if wanted and stream.size is None:  # a range cannot be answered without a size, all of it always can
            stream.close()
            wanted, stream = None, self.client.open_blob(reference, digest)
        if wanted is None or stream.size is None:
            return Answer(PiecesBody(stream, stream.close), stream.size, BLOB_TYPE, digest)
        try:
            span = wanted.within(stream.size)
        except RangeNotSatisfiable:
            stream.close()
            raise
        return Answer(PiecesBody(cut(stream, 0, span.length), stream.close), stream.size, BLOB_TYPE, digest, span)

    def _referrers(self, request: Request) -> Answer:
        raw = self.client.referrers(request.route.reference, request.query.get("artifactType", ""))
        return Answer(NoBody() if request.is_head else BytesBody(raw), len(raw), OCI_INDEX)

    def _tags(self, request: Request) -> Answer:
        return tag_list(request, self.client.tags(request.route.reference))
