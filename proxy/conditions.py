"""Conditional requests (RFC 9110, 13): the digest of what is asked for is its strong entity tag."""

from dataclasses import dataclass, replace
from typing import Self

from werkzeug.datastructures import ETags
from werkzeug.http import parse_etags, unquote_etag

from proxy.sources.message import Answer, Request
from registry.digest import Digest


@dataclass(frozen=True)
class Conditions:
    """What a client has already: tags of `If-None-Match`; and the tag of `If-Range`, None where it said nothing."""

    has: ETags
    range_of: str | None = None

    @classmethod
    def parse(cls, none_match: str | None, if_range: str | None) -> Self:
        """Read the two headers. An `If-Range` with a date never holds: nothing here is known by its date."""
        if if_range is None:
            return cls(parse_etags(none_match))
        tag, weak = unquote_etag(if_range) if '"' in if_range else (None, False)
        return cls(parse_etags(none_match), "" if weak or tag is None else tag)

    def question(self, request: Request) -> Request:
        """What to ask sources: no range of another blob, and no bytes that the client has."""
        digest = request.route.digest
        if self.range_of is not None and self.range_of != str(digest):
            request = replace(request, range=None)
        if digest and self._unchanged(digest):
            return replace(request, method="HEAD", range=None)
        return request

    def holds(self, answer: Answer) -> bool:
        """Whether the client has what is answered, so that it is told so and no more (304)."""
        return answer.digest is not None and self._unchanged(answer.digest)

    def _unchanged(self, digest: Digest) -> bool:
        return self.has.star_tag or self.has.contains_weak(str(digest))
