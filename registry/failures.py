"""From an HTTP answer to the error tree (distribution-spec, "Error Codes")."""

import errno
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from registry.errors import (
    Corrupt,
    NotFound,
    RateLimited,
    RegistryError,
    ServerFailure,
    StoreFull,
    TLSFailure,
    Unauthorized,
    Unsupported,
)
from registry.redact import LONGEST, redact
from registry.response import Response

_MAX_BODY = 64 * 1024
_LONGEST_MESSAGE = 500
_LONGEST_WAIT = 24 * 3600.0
_NO_SPACE = ("no space left on device", "storage quota", "will exceed the configured upper limit")
_NO_SPACE_ERRNO = frozenset({errno.ENOSPC, errno.EDQUOT})
_BY_CODE: dict[str, type[RegistryError]] = {
    "TOOMANYREQUESTS": RateLimited,
    "UNAUTHORIZED": Unauthorized,
    "DENIED": Unauthorized,
    "NAME_UNKNOWN": NotFound,
    "MANIFEST_UNKNOWN": NotFound,
    "BLOB_UNKNOWN": NotFound,
    "UNSUPPORTED": Unsupported,
    "DIGEST_INVALID": Corrupt,
    "SIZE_INVALID": Corrupt,
}
_BY_REASON: dict[str, type[RegistryError]] = {
    error.reason: error for error in (Corrupt, NotFound, RateLimited, StoreFull, TLSFailure, Unauthorized, Unsupported)
}
_BY_STATUS: dict[int, type[RegistryError]] = {
    401: Unauthorized,
    403: Unauthorized,
    404: NotFound,
    405: Unsupported,
    408: ServerFailure,
    410: NotFound,
    425: ServerFailure,
    429: RateLimited,
    451: Unauthorized,
    507: StoreFull,
}


@dataclass(frozen=True, slots=True)
class Complaint:
    """What the body of an error says: the spec's `code` and a `message` fit to be shown; both may be empty.

    kuik's own shield puts into `detail` what upstream's fault was, as the `reason` that a person acts on.
    """

    code: str = ""
    message: str = ""
    full: bool = False
    reason: str = ""


def raise_for(response: Response, what: str) -> None:
    """Return when the answer is a success (2xx); else close it and raise the error that it stands for.

    `what` begins the message: "manifest of docker.io/library/nginx:1".
    """
    if response.status < 300:
        return
    complaint = read_complaint(response.beginning(_MAX_BODY))
    kind = error_kind(response.status, complaint, elsewhere=response.redirected)
    raise kind(_message(response, what, complaint, kind), retry_after=retry_after(response.headers))


def error_kind(status: int, complaint: Complaint, *, elsewhere: bool = False) -> type[RegistryError]:
    """The error for a status and what the body said; `elsewhere`: the answer came from where a redirect led to."""
    if complaint.reason in _BY_REASON:
        return _BY_REASON[complaint.reason]
    if complaint.full and status >= 400:
        return StoreFull
    if elsewhere and status in (400, 401, 403):
        # A presigned address that its storage refuses: no credentials of ours were asked there.
        return ServerFailure
    if 400 <= status < 500 and complaint.code in _BY_CODE:
        return _BY_CODE[complaint.code]
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return RegistryError if 400 <= status < 500 else ServerFailure


def read_complaint(body: bytes) -> Complaint:
    """The first error of a registry's error body; empty for HTML and whatever else a proxy may answer."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return Complaint(full=_is_full(body.decode("utf-8", "replace")))
    errors = document.get("errors") if isinstance(document, dict) else None
    first = errors[0] if isinstance(errors, list) and errors else document
    if not isinstance(first, dict):
        return Complaint()
    code = first.get("code")
    message = first.get("message") or first.get("details") or first.get("error_description") or ""
    detail = first.get("detail")
    reason = detail.get("reason") if isinstance(detail, dict) else None
    return Complaint(
        code=redact(code, 40) if isinstance(code, str) else "",
        message=redact(message, _LONGEST_MESSAGE if reason else LONGEST) if isinstance(message, str) else "",
        full=_is_full(body.decode("utf-8", "replace")) or _has_no_space(detail),
        reason=redact(reason, 40) if isinstance(reason, str) else "",
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that `Retry-After` asks to wait, written as seconds or as a date; None without a usable one.

    A date is one of the server's clock, which its `Date` tells: this machine's may be wrong by hours.
    """
    text = headers.get("Retry-After", "").strip()
    if not text:
        return None
    try:
        seconds = float(text) if text.isdecimal() else parsedate_to_datetime(text).timestamp() - _now(headers)
    except (ValueError, OverflowError):
        return None
    return min(max(seconds, 0.0), _LONGEST_WAIT)


def _now(headers: Mapping[str, str]) -> float:
    """The server's time, or without its word this machine's, as Unix time."""
    try:
        return parsedate_to_datetime(headers.get("Date", "")).timestamp()
    except (ValueError, OverflowError):
        return time.time()


def _message(response: Response, what: str, complaint: Complaint, kind: type[RegistryError]) -> str:
    if complaint.reason and complaint.message:
        return complaint.message  # the shield's words name the image and the registry that it asked
    said = ": ".join(part for part in (complaint.code, complaint.message) if part)
    message = f"{what}: {response.address.host} answered {response.status}" + (f" ({said})" if said else "")
    return message + _advice(kind, response.status)


def _is_full(text: str) -> bool:
    return any(words in text for words in _NO_SPACE)


def _has_no_space(detail: object) -> bool:
    """Whether this is how distribution's filesystem driver tells of an upload that it cannot begin."""
    enclosed = detail.get("Enclosed") if isinstance(detail, dict) else None
    number = enclosed.get("Err") if isinstance(enclosed, dict) else None
    return isinstance(number, int) and number in _NO_SPACE_ERRNO


def _advice(kind: type[RegistryError], status: int) -> str:
    if kind is Unauthorized and status == 401:
        return "; there is no such repository, or it needs other credentials (imagePullSecrets)"
    if kind is ServerFailure and status < 500:
        return "; that is no answer of a registry"
    return ""
