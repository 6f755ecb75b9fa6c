"""The distribution-spec's errors that a proxy raises by itself, and the JSON in which every error is told."""

from collections.abc import Sequence
from typing import Any

from registry.errors import NotFound, RegistryError, Unreachable
from registry.response import TimedOut


class NameInvalid(RegistryError):
    """The path names no repository that could exist (spec code NAME_INVALID)."""

    reason = "NameInvalid"
    code = "NAME_INVALID"
    status = 400


class NameUnknown(NotFound):
    """The path is none of the distribution API, or names no registry (spec code NAME_UNKNOWN)."""

    code = "NAME_UNKNOWN"


class DigestInvalid(RegistryError):
    """The path's digest is none that can be verified (spec code DIGEST_INVALID)."""

    reason = "DigestInvalid"
    code = "DIGEST_INVALID"
    status = 400


class BlobUnknown(NotFound):
    """There is no such blob (spec code BLOB_UNKNOWN)."""

    code = "BLOB_UNKNOWN"


class MethodRefused(RegistryError):
    """Pushes, deletes and uploads: the proxy is read-only (spec code UNSUPPORTED)."""

    reason = "Unsupported"
    code = "UNSUPPORTED"
    status = 405


class Denied(RegistryError):
    """The caller has not shown the token that components of kuik share (spec code DENIED)."""

    reason = "Denied"
    code = "DENIED"
    status = 401


class ReportInvalid(RegistryError):
    """What a node proxy reports cannot be read; not of the spec, and told in its form."""

    reason = "ReportInvalid"
    code = "UNSUPPORTED"
    status = 400


class RangeNotSatisfiable(RegistryError):
    """The range begins beyond the end; `size` is the blob's size in bytes (RFC 9110, 416)."""

    reason = "RangeNotSatisfiable"
    code = "UNSUPPORTED"
    status = 416

    def __init__(self, size: int) -> None:
        super().__init__(f"the range begins beyond the end: the blob has {size} bytes")
        self.size = size


class Busy(TimedOut):
    """The source is alive and has no answer yet: it waits for somebody else, or has much to do."""


class NotAsked(Unreachable):
    """The source has not answered a moment ago and is left alone for some seconds."""


def document(error: RegistryError, *, of_blob: bool = False) -> dict[str, Any]:
    """The error as the spec's JSON ("Error Codes"); `of_blob` when it is about a blob."""
    code = BlobUnknown.code if of_blob and type(error) is NotFound else error.code
    return {"errors": [{"code": code, "message": str(error), "detail": {"reason": error.reason}}]}


def most_telling(local: Sequence[RegistryError], remote: Sequence[RegistryError]) -> RegistryError:
    """Of the errors of sources asked in vain, the one that the client gets.

    `local` are those of stores, which only say that a copy is not there; `remote` those of the shield and of upstream,
    each in the order asked. A definite word of a remote source (404, 401, 429...) beats a missing answer; a store's
    word counts only where no remote source was asked.
    """
    definite = [error for error in remote if not isinstance(error, Unreachable)]
    for error in (*definite, *remote, *local):
        return error
    return NotFound("there is no source to ask for this image")


def told_status(error: RegistryError) -> int:
    """The HTTP status for a client: 503 where nobody answered, as trying again may help (RFC 9110, 15.6.4)."""
    return 503 if isinstance(error, Unreachable) else error.status
