"""What a transport tells whoever counts: each HTTP request that went out, and the bytes that came."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

REDIRECTED = "storage"
TOKEN = "token"  # noqa: S105  the kind of a request
_KINDS = ("manifests", "blobs", "referrers")


@dataclass(frozen=True, slots=True)
class Sent:
    """One request and the headers of its answer; `status` is None where none came, and `seconds` until then.

    `registry` is the one that was asked first, also for what it redirects to, and for its token server. `kind` is the
    path's word (`manifests`, `blobs`, `referrers`, `tags`), `base`, `token`, `storage` (redirected) or `other`.
    """

    registry: str
    kind: str
    status: int | None
    seconds: float
    headers: Mapping[str, str]
    method: str = "GET"


class Watcher(Protocol):
    """Threads call it; it never raises."""

    def asked(self, sent: Sent) -> None:
        """A request was answered, or not."""

    def received(self, registry: str, count: int) -> None:
        """Bytes of a body came."""


def kind_of(target: str) -> str:
    """What a path (with or without a query) of the distribution API asks for."""
    path = target.partition("?")[0]
    if path == "/v2/":
        return "base"
    if path.endswith("/tags/list"):
        return "tags"
    words = path.rsplit("/", 2)
    return words[-2] if len(words) > 1 and words[-2] in _KINDS else "other"
