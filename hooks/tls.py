"""The TLS context of a server whose certificate changes while it runs."""

import ssl
import tempfile
from pathlib import Path

from hooks.certificate import SERVED, SERVED_KEY, Data


class NoCertificate(ValueError):
    """The certificate and key cannot be served; the message never holds the key."""


class Served:
    """What new connections are shown. Those that are open keep what they began with."""

    def __init__(self) -> None:
        self._context: ssl.SSLContext | None = None
        self._shown: tuple[bytes, bytes] | None = None

    @property
    def ready(self) -> bool:
        """Whether there is a certificate."""
        return self._context is not None

    @property
    def context(self) -> ssl.SSLContext:
        """For one connection; raises NoCertificate while there is none."""
        if self._context is None:
            raise NoCertificate("no certificate has been read yet")
        return self._context

    def show(self, data: Data) -> bool:
        """Serve this certificate from now on; whether it is another one. Raises NoCertificate and keeps the last."""
        pair = (data.get(SERVED, b""), data.get(SERVED_KEY, b""))
        if pair == self._shown:
            return False
        # A new context, and not the old one changed, in which for a moment certificate and key would not match.
        self._context, self._shown = _context(*pair), pair
        return True


def _context(certificate: bytes, key: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    with tempfile.TemporaryDirectory(prefix="kuik-tls-") as folder:  # only we may enter it
        path = Path(folder) / "chain.pem"
        path.write_bytes(certificate + b"\n" + key)
        try:
            context.load_cert_chain(path)
        except (ssl.SSLError, OSError) as error:
            raise NoCertificate(f"{SERVED} and {SERVED_KEY} cannot be served: {type(error).__name__}") from error
    return context
