"""Clients that hold a thread for nothing: those that take no byte any more, and those whose request never ends.

Who is slow is not among them: while any byte is acknowledged, however few, a client is served. (TCP_USER_TIMEOUT would
be simpler, and cuts those off who read slowly: Linux counts a window that stays small as no progress.)
"""

import contextlib
import fcntl
import logging
import socket
import struct
import termios
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gunicorn.workers.gthread import ThreadWorker

log = logging.getLogger("kuik.pull")

STALLED = 120.0
"""Seconds without a byte that reached a client, while bytes wait for it."""
HEADERS = 30.0
"""Seconds for all of a request's headers to come, from their first byte."""
LOOK_EVERY = 5.0
_BYTES_ACKED = struct.Struct("@Q")
_BYTES_ACKED_AT = 120  # of struct tcp_info (linux/tcp.h), since Linux 4.1


class Connection(Protocol):
    """A client's connection; its socket is another one once TLS has begun."""

    @property
    def sock(self) -> socket.socket: ...


@dataclass(slots=True)
class _Client:
    """One that a thread serves: since when, and how many bytes it had acknowledged when it last took some."""

    since: float
    asked: bool = False
    acked: int = -1


class Clients:
    """Those that threads serve now; for many threads. `clock` is monotonic, in seconds."""

    def __init__(
        self, stalled: float = STALLED, headers: float = HEADERS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stalled = stalled
        self._headers = headers
        self._clock = clock
        self._served: dict[Connection, _Client] = {}
        self._lock = threading.Lock()

    def comes(self, client: Connection) -> None:
        """A thread reads its request."""
        with self._lock:
            self._served[client] = _Client(self._clock())

    def asks(self, client: Connection) -> None:
        """Its request has come."""
        with self._lock:
            if found := self._served.get(client):
                found.asked, found.since = True, self._clock()

    def goes(self, client: Connection) -> None:
        """Its thread is free again."""
        with self._lock:
            self._served.pop(client, None)

    def look(self) -> int:
        """Cut those off that hold their threads for nothing; how many."""
        cut = 0
        with self._lock:
            for client, found in self._served.items():
                why = self._why(client.sock, found)
                if why:
                    cut += 1
                    log.warning("a client is cut off: %s", why, extra={"repeats": ("client", why)})
                    with contextlib.suppress(OSError):
                        socket.socket.shutdown(client.sock, socket.SHUT_RDWR)  # its thread has the rest of the work
        return cut

    def _why(self, client: socket.socket, found: _Client) -> str:
        now = self._clock()
        if not found.asked:
            late = now - found.since >= self._headers
            return f"its request's headers did not come within {self._headers:.0f} s" if late else ""
        try:
            waiting, acked = _waiting(client), _acked(client)
        except (OSError, ValueError, struct.error):  # it is gone already, or no TCP
            return ""
        if not waiting or acked != found.acked:
            found.acked, found.since = acked, now
            return ""
        return f"it took no byte for {self._stalled:.0f} s" if now - found.since >= self._stalled else ""


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's worker with threads, which no client holds for ever."""

    clients: Clients

    def run(self) -> None:
        """gunicorn's own hook: serve."""
        self.clients = Clients(STALLED, HEADERS)
        threading.Thread(target=self._look, daemon=True, name="clients").start()
        super().run()

    def handle(self, conn: Connection) -> object:
        """gunicorn's own hook: one request, in a thread."""
        self.clients.comes(conn)
        try:
            return super().handle(conn)
        finally:
            self.clients.goes(conn)

    def handle_request(self, req: object, conn: Connection) -> object:
        """gunicorn's own hook: its headers are there."""
        self.clients.asks(conn)
        return super().handle_request(req, conn)

    def _look(self) -> None:
        while True:
            time.sleep(LOOK_EVERY)
            self.clients.look()


def _waiting(client: socket.socket) -> int:
    """Bytes that the client has not acknowledged yet."""
    count: int = struct.unpack("@i", fcntl.ioctl(client.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0]
    return count


def _acked(client: socket.socket) -> int:
    """Bytes that it has acknowledged since it came."""
    info = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED_AT + _BYTES_ACKED.size)
    acked: int = _BYTES_ACKED.unpack_from(info, _BYTES_ACKED_AT)[0]
    return acked
