"""The repositories of a registry (`/v2/_catalog`, distribution's own; the spec has no such list)."""

import json
from collections.abc import Iterator
from urllib.parse import urlsplit

from registry.credentials import Credentials
from registry.errors import Corrupt, NotFound, Unauthorized, Unsupported
from registry.failures import raise_for
from registry.response import Response
from registry.transport import Transport

SCOPE = "registry:catalog:*"
_PAGE = 1000
_MAX_PAGES = 1000
_MAX_BYTES = 4 << 20
_SLOWEST = 60.0


def repositories(transport: Transport, host: str, credentials: Credentials | None) -> Iterator[str]:
    """Every repository of the registry at `host`, in its order.

    Raises Unsupported where it does not tell, and the typed error of what else fails: then the list is not whole.
    """
    page: str | None = f"?n={_PAGE}"
    for _ in range(_MAX_PAGES):
        if page is None:
            return
        with transport.send("GET", host, f"/v2/_catalog{page}", credentials=credentials, scope=SCOPE) as response:
            try:
                raise_for(response, f"the catalog of {host}")
            except (NotFound, Unauthorized, Unsupported) as error:
                raise Unsupported(f"{host} does not list its repositories: {error}") from error
            yield from _names(response, host)
            page = _next(response.headers.get("Link"))
    raise Corrupt(f"the catalog of {host} has no end")


def _names(response: Response, host: str) -> list[str]:
    try:
        document = json.loads(response.read(_MAX_BYTES, _SLOWEST))
    except (ValueError, RecursionError):
        document = None
    names = document.get("repositories") if isinstance(document, dict) else ()
    if not isinstance(names, list | type(None)):
        raise Corrupt(f"{host} answered something that is not a list of repositories")
    return [name for name in names or () if isinstance(name, str)]


def _next(link: str | None) -> str | None:
    if not link or "next" not in link:
        return None
    query = urlsplit(link.partition("<")[2].partition(">")[0]).query
    return f"?{query}" if query else None
