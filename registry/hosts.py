"""How each host is spoken to: TLS or not, whom to trust, how long to wait."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from registry.trust import default_trust


@dataclass(frozen=True, slots=True)
class HostSettings:
    """How one host is spoken to. A `ca_file` (PEM) is then all that is trusted for it."""

    plain_http: bool = False
    ca_file: str | Path | None = None

    @property
    def trust(self) -> str | bool:
        """What its certificate is checked with: a file, or True for what the HTTP library brings along."""
        return str(self.ca_file) if self.ca_file else default_trust()


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
