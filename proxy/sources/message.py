"""What is asked of a source and what it answers: the distribution API without HTTP around it."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from proxy.paging import next_page
from proxy.path import Kind, Route
from proxy.span import ByteRange, Span, content_range
from proxy.story import Story
from proxy.stream import Body, BytesBody, NoBody
from registry.digest import Digest
from registry.manifest import Descriptor

BLOB_TYPE = "application/octet-stream"
API = {"Docker-Distribution-API-Version": "registry/2.0"}
"""What every answer says (distribution-spec, "Determining Support", in its older form)."""


@dataclass(frozen=True, slots=True)
class Request:
    """One question: `method` is GET or HEAD; `range` counts for blobs only; `query` for tag lists and referrers.

    With `only_cached` nobody is asked but who holds copies (RFC 9111, 5.2.1.7), nor is it answered from memory.
    `patience` is how many seconds a source has to begin its answer, None where it may take its time. `story` is what
    becomes of the request. Neither is a part of the question.
    """

    route: Route
    method: str = "GET"
    range: ByteRange | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    only_cached: bool = False
    patience: float | None = field(default=None, compare=False)
    story: Story = field(default_factory=Story, compare=False, repr=False)

    @property
    def is_head(self) -> bool:
        return self.method == "HEAD"

    @property
    def kind(self) -> Kind:
        return self.route.kind

    def __str__(self) -> str:
        return f"{self.method} {self.route}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a source has: the whole (`span` None, status 200) or a span of it (206). Whoever holds it closes `body`.

    `size` is the size of the whole in bytes, `cache` what the source's own cache did (RFC 9211), `source` who it was.
    """

    body: Body
    size: int | None
    media_type: str
    digest: Digest | None = None
    span: Span | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    cache: str = ""
    source: str = ""

    @property
    def status(self) -> int:
        return 206 if self.span else 200

    @property
    def length(self) -> int | None:
        """The bytes of the body; for a HEAD, those that a GET would send."""
        return self.span.length if self.span else self.size

    def http_headers(self) -> dict[str, str]:
        """The headers that the distribution-spec and RFC 9110 ask for."""
        headers = dict(self.headers) | {"Content-Type": self.media_type}
        if self.digest:
            headers |= {"Docker-Content-Digest": str(self.digest), "ETag": f'"{self.digest}"'}
        if self.media_type == BLOB_TYPE:
            headers["Accept-Ranges"] = "bytes"
        if self.length is not None:
            headers["Content-Length"] = str(self.length)
        if self.span and self.size is not None:
            headers["Content-Range"] = content_range(self.span, self.size)
        return headers


class Source(Protocol):
    """Somewhere that images can be had from."""

    @property
    def name(self) -> str:
        """For `Cache-Status`, logs and errors."""

    def peer(self, request: Request, /) -> str:
        """The server that is asked, for the breakers; empty where none is, or where the source has its own."""

    def fetch(self, request: Request) -> Answer:
        """The answer; raises RegistryError. The body is opened, but not read beyond what the answer needs."""


def manifest_answer(request: Request, descriptor: Descriptor, raw: bytes | None) -> Answer:
    """The answer about a manifest, whose bytes a HEAD does not need."""
    body: Body = NoBody() if request.is_head or raw is None else BytesBody(raw)
    return Answer(body, descriptor.size, descriptor.media_type, descriptor.digest)


def tag_list(request: Request, tags: Iterable[str]) -> Answer:
    """The tags after the query's `last`, at most its `n` of them (distribution-spec, "Listing Tags")."""
    last, count = request.query.get("last", ""), request.query.get("n", "")
    rest = [tag for tag in sorted(tags) if tag > last]
    page = rest[: int(count)] if count.isdecimal() else rest
    headers = {"Link": next_page(request.query, page[-1])} if page and len(page) < len(rest) else {}
    raw = json.dumps({"name": request.route.repository, "tags": page}).encode()
    body: Body = NoBody() if request.is_head else BytesBody(raw)
    return Answer(body, len(raw), "application/json", headers=headers)
