"""Where a telemetry listener is: `HOST:PORT`, `[IPV6]:PORT` or `unix:PATH`."""

import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class TelemetryAddress:
    """One address; `path` names a socket file, which then is all."""

    host: str = ""
    port: int = 0
    path: Path | None = None

    @classmethod
    def parse(cls, text: str) -> "TelemetryAddress":
        """Read it as it is written in an option; raises ValueError."""
        if text.startswith("unix:"):
            return cls(path=Path(text.removeprefix("unix:")))
        host, colon, port = text.rpartition(":")
        if not colon or not host or not port.isdecimal() or int(port) > 65535:
            raise ValueError(f"{text!r} is no address: write it as HOST:PORT, [IPV6]:PORT or unix:PATH")
        return cls(host.strip("[]"), int(port))

    def listen(self) -> socket.socket:
        """A listening socket of this process alone; raises OSError, for a port also while another one has it."""
        if self.path is None:
            family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
            return socket.create_server((self.host, self.port), family=family, backlog=32)
        with suppress(FileNotFoundError):
            self.path.unlink()  # left over by a process that was killed; the file is in a folder of our own
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.bind(str(self.path))
            listener.listen(32)
        except BaseException:
            listener.close()
            raise
        return listener

    def connect(self, timeout: float) -> socket.socket:
        """A connection to whoever listens there; raises OSError."""
        if self.path is None:
            return socket.create_connection((self.host, self.port), timeout)
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout)
        try:
            connection.connect(str(self.path))
        except BaseException:
            connection.close()
            raise
        return connection

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
