"""How each host is spoken to: TLS or not, whom to trust, how long to wait."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from registry.trust import default_trust, file_of


@dataclass(frozen=True, slots=True)
class HostSettings:
    """How one host is spoken to. A `ca_file`, or the text `ca` (both PEM), is then all that is trusted for it.

    `egress` is the URL of an HTTP proxy to ask it through, and to ask the hosts that it leads to (redirects, token
    servers) unless they are among `direct` (see registry.egress).
    """

    plain_http: bool = False
    ca_file: str | Path | None = None
    ca: str = ""
    egress: str = ""
    direct: tuple[str, ...] = ()

    @property
    def trust(self) -> str | bool:
        """What its certificate is checked with: a file, or True for what the HTTP library brings along."""
        if self.ca_file:
            return str(self.ca_file)
        return file_of(self.ca) if self.ca else default_trust()

    @property
    def trusted(self) -> str:
        """What its certificate is checked with, for people; empty where that is nothing of its own."""
        return str(self.ca_file) if self.ca_file else "the CA that is set for it" if self.ca else ""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds to wait for a connection, and for the next bytes on it."""

    connect: float = 3.0
    read: float = 30.0


def host_settings(
    plain_http: Iterable[str] = (), ca_files: Mapping[str, str | Path] | None = None
) -> Callable[[str], HostSettings]:
    """Settings by host (`name` or `name:port`, as in references); every other host is spoken to with TLS."""
    plain, files = frozenset(plain_http), dict(ca_files or {})
    return lambda host: HostSettings(host in plain, files.get(host))
