"""Where one HTTP request goes: addresses that never show their query, and the rules for following redirects."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from registry.errors import ServerFailure
from registry.reference import DOCKER_HUB

REDIRECTS = frozenset({301, 302, 303, 307, 308})
MAX_REDIRECTS = 5
HUB_ENDPOINT = "registry-1.docker.io"
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_TRAVELS = frozenset({"accept", "accept-encoding", "range", "if-match", "if-none-match", "if-range", "user-agent"})


def endpoint(host: str) -> str:
    """The host that answers for a registry's name: Docker Hub's images are named docker.io and served elsewhere."""
    return HUB_ENDPOINT if host == DOCKER_HUB else host


def named(host: str) -> str:
    """The registry's name behind an endpoint: the inverse of `endpoint`."""
    return DOCKER_HUB if host == HUB_ENDPOINT else host


@dataclass(frozen=True, slots=True, repr=False)
class Address:
    """One URL: `scheme` (http or https), `host` (lower case, its port as written), `target` (path and query).

    `str()` leaves the query out: presigned URLs carry their credentials there.
    """

    scheme: str
    host: str
    target: str

    @classmethod
    def parse(cls, url: str, base: "Address | None" = None) -> "Address":
        """Read a URL, relative to `base` where one is given; raises ServerFailure. A user in it is dropped."""
        try:
            parts = urlsplit(urljoin(base.url, url) if base else url)
            scheme, host = parts.scheme, parts.netloc.rpartition("@")[2].lower()
            valid = scheme in _DEFAULT_PORTS and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        except ValueError:
            valid = False
        if not valid:
            raise ServerFailure(
                f"{base.host if base else 'a registry'} points to something that is not an HTTP address"
            )
        query = f"?{parts.query}" if parts.query else ""
        return cls(scheme, host, f"{parts.path or '/'}{query}")

    @property
    def origin(self) -> tuple[str, str]:
        """What credentials belong to: another scheme, host or port is somebody else."""
        return self.scheme, self.host.removesuffix(_DEFAULT_PORTS[self.scheme])

    @property
    def url(self) -> str:
        """The whole URL, for the wire only."""
        return f"{self.scheme}://{self.host}{self.target}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}{self.target.partition('?')[0]}"

    def __repr__(self) -> str:
        return f"Address({str(self)!r})"


def redirected(current: Address, location: str | None, plain: Callable[[str], bool]) -> Address:
    """Where a redirect from `current` leads; raises ServerFailure for those that must not be followed.

    `plain` tells for a host whether it was configured to be spoken to without TLS.
    """
    if not location:
        raise ServerFailure(f"{current.host} redirects without saying where to")
    target = Address.parse(location, current)
    if target.scheme == "http" and current.scheme == "https" and not plain(target.host):
        raise ServerFailure(f"{current.host} redirects from TLS to plain HTTP at {target.host}; that is not followed")
    return target


def travelling(headers: Mapping[str, str], current: Address, target: Address) -> dict[str, str]:
    """The headers that go along from `current` to `target`: to another origin only those that hold no secret."""
    if current.origin == target.origin:
        return dict(headers)
    return {name: value for name, value in headers.items() if name.lower() in _TRAVELS}
