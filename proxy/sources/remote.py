"""A registry or a shield over HTTP, asked by the path form that names the registry host."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from proxy.errors import RangeNotSatisfiable
from proxy.path import Kind
from proxy.sources.message import BLOB_TYPE, Answer, Request, manifest_answer
from proxy.span import parse_content_range
from proxy.stream import FIRST_PIECE, PIECE, Body, BytesBody, NoBody, PiecesBody, cut
from registry.credentials import Credentials
from registry.digest import Digest, InvalidDigest
from registry.errors import Corrupt, NotFound, RegistryError, ServerFailure
from registry.failures import raise_for
from registry.manifest import ACCEPT, MAX_MANIFEST, Descriptor
from registry.response import Response
from registry.transport import Transport

SMALL = 0.4
"""Seconds in which a manifest comes whose first bytes are there, while others can be asked."""
SIGN_OF_LIFE = 0.3
"""Seconds in which a server that is alive answers a question that costs it nothing."""


_NO_TAGS = re.compile(rb'"tags"\s*:\s*(\[\s*\]|null)')


@dataclass(frozen=True)
class Remote:
    """Answers of the server at `host` (`name:port`).

    A shield is shown `token`, the one that kuik's components share; a registry asks for `credentials` in its own way.
    One that `tells_freshness` knows how long a tag need not be asked for again.
    """

    name: str
    host: str
    transport: Transport
    token: str = field(default="", repr=False)
    credentials: Credentials | None = field(default=None, repr=False)
    tells_freshness: bool = False

    def peer(self, _request: Request, /) -> str:
        """The server."""
        return self.server

    @property
    def server(self) -> str:
        """As breakers, logs and metrics name it."""
        return f"{self.name} at {self.host}"

    def fetch(self, request: Request) -> Answer:
        """The answer; a blob's bytes come as they are read, anything else is read and checked at once."""
        response = self.transport.send(
            request.method,
            self.host,
            request.route.path,
            headers=self._headers(request),
            params=dict(request.query),
            credentials=self.credentials,
            scope=_scope(request.route.path),
            patience=request.patience,
        )
        try:
            return self._answer(request, response)
        except BaseException:
            response.close()
            raise

    def is_alive(self) -> bool:
        """Whether the server answers at all, so that one that says nothing is busy and not dead."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        try:
            self.transport.send("GET", self.host, "/v2/", headers=headers, patience=SIGN_OF_LIFE).discard()
        except RegistryError:
            return False
        return True

    def _headers(self, request: Request) -> dict[str, str]:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        if request.kind is Kind.MANIFEST:
            headers["Accept"] = ACCEPT
        if request.kind is Kind.BLOB and request.range:
            headers["Range"] = str(request.range)
        return headers

    def _answer(self, request: Request, response: Response) -> Answer:
        if response.status == 416:
            raise RangeNotSatisfiable(_size_in(response.headers))
        raise_for(response, str(request.route))
        if request.kind is Kind.BLOB:
            answer = blob_answer(request, response)
        elif request.kind is Kind.MANIFEST:
            answer = self._manifest(request, response)
        else:
            answer = _listing(request, response)
            self._check_tags(request, answer)
        return replace(answer, cache=response.headers.get("Cache-Status", ""))

    def _check_tags(self, request: Request, answer: Answer) -> None:
        """Distribution on S3 lists no tags of repositories that are not there: other sources may know them."""
        if request.kind is not Kind.TAGS or self.name != "registry" or not isinstance(answer.body, BytesBody):
            return
        if _NO_TAGS.search(b"".join(answer.body)):
            raise NotFound(f"{self.host} has no tags of {request.route}")

    def _manifest(self, request: Request, response: Response) -> Answer:
        media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
        digest = _declared(request, response.headers)
        said = response.headers.get("Cache-Control", "") if self.tells_freshness else ""
        kept = {"Cache-Control": said} if said else {}
        if request.is_head:
            if digest is None or response.length is None:
                raise ServerFailure(f"{self.host} answered a HEAD of {request.route} without digest or length")
            return replace(
                manifest_answer(request, Descriptor(media_type, digest, response.length), None), headers=kept
            )
        raw = response.read(MAX_MANIFEST, SMALL if request.patience is not None else None)
        found = Digest.of(raw, digest.algorithm if digest else "sha256")
        if digest and found != digest:
            raise Corrupt(f"{self.host} answered {request.route} with bytes that are not {digest}")
        return replace(manifest_answer(request, Descriptor(media_type, found, len(raw)), raw), headers=kept)


def _scope(path: str) -> str:
    """The token scope of a path, which ends in a kind and a target: `/v2/<repository>/blobs/<digest>`."""
    return f"repository:{path.removeprefix('/v2/').rsplit('/', 2)[0]}:pull"


def blob_answer(request: Request, response: Response) -> Answer:
    """The answer that a 200 or 206 of a blob means; a server that ignored the range is cut to it."""
    size, span = response.length, None
    pieces, whole = response.pieces(PIECE, FIRST_PIECE), True
    if response.status == 206:
        found = parse_content_range(response.headers.get("Content-Range", ""))
        if found is None:
            raise ServerFailure(f"{response.address.host} answered 206 without a Content-Range")
        span, size = found
    elif request.range and size is not None:
        span = request.range.within(size)
        pieces, whole = cut(pieces, span.start, span.length), False
    body: Body = NoBody() if request.is_head else PiecesBody(pieces, response.close, response if whole else None)
    if request.is_head:
        response.close()
    return Answer(body, size, BLOB_TYPE, request.route.digest, span)


def _listing(request: Request, response: Response) -> Answer:
    """Tag lists and referrers: small JSON, passed on as it is."""
    raw = b"" if request.is_head else response.read(MAX_MANIFEST)
    kept = {name: response.headers[name] for name in ("Link", "OCI-Filters-Applied") if name in response.headers}
    media_type = response.headers.get("Content-Type", "application/json")
    body: Body = NoBody() if request.is_head else BytesBody(raw)
    return Answer(body, response.length if request.is_head else len(raw), media_type, headers=kept)


def _declared(request: Request, headers: Mapping[str, str]) -> Digest | None:
    if request.route.digest:
        return request.route.digest
    try:
        return Digest.parse(headers["Docker-Content-Digest"])
    except (KeyError, InvalidDigest):
        return None


def _size_in(headers: Mapping[str, str]) -> int:
    size = headers.get("Content-Range", "").rpartition("/")[2]
    return int(size) if size.isdecimal() else 0
