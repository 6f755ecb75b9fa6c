"""Clients for tests: plain HTTP on loopback, and their pauses written down instead of slept."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from registry.client import Client
from registry.credentials import Keyring, no_credentials
from registry.transport import HostSettings, Retries, Timeouts, Transport


@dataclass
class Pauses:
    """A sleep that only notes how long it should have been, in seconds."""

    taken: list[float] = field(default_factory=list)

    def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)


def everything_plain(host: str) -> HostSettings:
    """Settings of a world without TLS."""
    return HostSettings(plain_http=host.startswith("127.0.0.1:"))


def transport(
    settings: Callable[[str], HostSettings] = everything_plain,
    *,
    sleep: Callable[[float], None] | None = None,
    read: float = 10.0,
) -> Transport:
    """A transport that waits `read` seconds for a server, enough for a busy machine, never between attempts."""
    retries = Retries(sleep=sleep or Pauses())
    return Transport(settings, timeouts=Timeouts(5.0, read), retries=retries, user_agent="kuik/test")


def client(keyring: Keyring = no_credentials, *, sleep: Callable[[float], None] | None = None) -> Client:
    """A client on such a transport."""
    return Client(transport(sleep=sleep), keyring)


def whole(pieces: Iterable[bytes]) -> bytes:
    """All bytes of a stream."""
    return b"".join(pieces)
