"""Whether a registry is what kuik needs, as the command line and the keeper's start ask it."""

from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlsplit

from kuik import __version__
from registry.fitness import Finding, Place
from registry.fitness import check as find_out
from registry.own_registry import own_credentials
from registry.transport import NO_RETRIES, Transport, host_settings

READERS_TOKEN = "KUIK_READER_TOKEN"  # noqa: S105  the variable's name


def findings(url: str, readers: Sequence[str], environment: Mapping[str, str]) -> Iterator[Finding]:
    """Each requirement with what was found of it, at the registry that is written at `url` and read at `readers`.

    KUIK_REGISTRY_TOKEN or KUIK_REGISTRY_CREDENTIALS of `environment` say what to show, KUIK_READER_TOKEN what to show
    to readers where that differs. Raises ValueError for what is no URL, InvalidDockerConfig for credentials that cannot
    be read.
    """
    for_readers = {
        **environment,
        "KUIK_REGISTRY_TOKEN": environment.get(READERS_TOKEN) or environment.get("KUIK_REGISTRY_TOKEN", ""),
    }
    writer = Place(host_of(url), own_credentials(host_of(url), environment))
    places = [Place(host_of(one), own_credentials(host_of(one), for_readers)) for one in readers]
    plain = [host_of(one) for one in (url, *readers) if one.startswith("http://")]
    transport = Transport(host_settings(plain), retries=NO_RETRIES, user_agent=f"kuik/{__version__}")
    return find_out(transport, writer, places)


def host_of(url: str) -> str:
    """`name:port` of a registry's URL; raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.path not in ("", "/"):
        raise ValueError(f"{url!r} is not a URL such as https://registry.example:5000")
    return parts.netloc
