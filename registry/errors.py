"""What can go wrong between kuik and a registry: one tree of typed errors.

Each error knows whether trying again may help (`temporary`), the reason a person acts on (`reason`, as shown in a
CachedImage's status), and the code and HTTP status under which a registry reports it (distribution-spec, "Error
Codes"). Messages never hold credentials: URLs in them are stripped of user, query and fragment.
"""

from typing import ClassVar


class RegistryError(Exception):
    """Something a registry said, did not say, or sent wrongly. `retry_after` is in seconds."""

    temporary: ClassVar[bool] = False
    reason: ClassVar[str] = "Failed"
    code: ClassVar[str] = "UNKNOWN"
    status: ClassVar[int] = 502

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unreachable(RegistryError):
    """No answer: refused, timed out, reset, or the name does not resolve."""

    temporary = True
    reason = "Unreachable"


class ServerFailure(Unreachable):
    """The registry answered 5xx or something that is no answer of a registry."""


class TLSFailure(RegistryError):
    """The registry's certificate is not trusted, or it does not speak TLS."""

    reason = "TLS"


class Unauthorized(RegistryError):
    """The registry wants credentials, or refuses those it was given."""

    reason = "Unauthorized"
    code = "UNAUTHORIZED"
    status = 401


class NotFound(RegistryError):
    """There is no such repository, manifest or blob."""

    reason = "NotFound"
    code = "MANIFEST_UNKNOWN"
    status = 404


class RateLimited(RegistryError):
    """The registry asks to come back later (429)."""

    temporary = True
    reason = "RateLimited"
    code = "TOOMANYREQUESTS"
    status = 429


class Corrupt(RegistryError):
    """The bytes are not what their digest or size says, or not a manifest at all."""

    reason = "Corrupt"
    code = "MANIFEST_INVALID"


class Unsupported(RegistryError):
    """The image has a form that kuik does not cache, for example Docker schema 1."""

    reason = "Unsupported"
    code = "UNSUPPORTED"


class NoPlatform(RegistryError):
    """The image has none of the platforms that are wanted."""

    reason = "NoPlatform"


class StoreFull(RegistryError):
    """There is no room left where the image should be kept."""

    temporary = True
    reason = "StoreFull"
    status = 507
