"""Starts and ends the serving process (kuik.local.server) from `kuik run`."""

import errno
import secrets
import socket
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from kuik import __version__
from kuik.child import Child
from kuik.copy_job import PATIENT
from kuik.local.feed import Feed
from kuik.local.server import RELEASE, TOKEN
from registry.errors import RegistryError
from registry.transport import Transport, host_settings

_BACKLOG = 512
_BIND_SECONDS = 10.0


class CannotListen(RuntimeError):
    """The address cannot be listened on; the message says which and why."""


@dataclass(frozen=True)
class Served:
    """What is served, and where: no `listen` means that only copies are served. `spool_size` is in bytes.

    `verbose` writes a line for each request to standard error.
    """

    store: Path
    listen: tuple[str, int] | None
    plain_http: Collection[str] = ()
    spool_size: int = 2 << 30
    verbose: bool = False


class ServingProcess:
    """The running process; a context manager that ends it. `shield` is `host:port`, for those who have the `token`.

    `transport` speaks to it.
    """

    def __init__(self, served: Served, feed: Feed) -> None:
        self.token = secrets.token_urlsafe(32)
        sockets = {"shield": listener("127.0.0.1", 0)}
        self.shield = f"127.0.0.1:{sockets['shield'].getsockname()[1]}"
        if served.listen:
            sockets["proxy"] = listener(*served.listen)
        agent = f"kuik/{__version__}"
        self.transport = Transport(host_settings({self.shield}), timeouts=PATIENT, user_agent=agent)
        self._child = Child()
        files = {name: sock.fileno() for name, sock in sockets.items()} | {"feed": feed.descriptor}
        command = ["kuik.local.server", "--store", str(served.store.resolve())]
        command += ["--spool-size", str(served.spool_size), "--lifeline", str(self._child.lifeline)]
        command += [word for host in sorted(served.plain_http) for word in ("--plain-http", host)]
        command += [word for name, number in files.items() for word in (f"--{name}", str(number))]
        command += ["--verbose"] if served.verbose else []
        self._child.start(command, files.values(), {TOKEN: self.token})
        for sock in sockets.values():
            sock.close()

    @property
    def ended(self) -> int | None:
        """The exit status if the process is not there any more."""
        return self._child.ended

    def release(self) -> None:
        """Let the shield forget what the store holds by now."""
        headers = {"Authorization": f"Bearer {self.token}"}
        with suppress(RegistryError):  # it is done after the next copy then
            self.transport.send("POST", self.shield, RELEASE, headers=headers, body=b"").close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.transport.close()  # a kept connection would be waited for
        self._child.close()


def listener(host: str, port: int) -> socket.socket:
    """A listening socket; waits a little for a predecessor to let go of the address. Raises CannotListen."""
    deadline = time.monotonic() + _BIND_SECONDS
    while True:
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            return socket.create_server((host, port), family=family, backlog=_BACKLOG)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise CannotListen(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
            time.sleep(0.1)
