"""The listener apart: threads of its own, so that it answers also while every thread that serves pulls is busy."""

import errno
import logging
import socket
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from telemetry.address import TelemetryAddress
from telemetry.page import Page, Pages, text

MOST_AT_ONCE = 16
"""Connections; with one more the oldest is closed, so that nobody keeps a probe out."""
PATIENCE = 5.0
"""Seconds for a client to send or take something."""
_AGAIN = 1.0

_log = logging.getLogger("kuik.telemetry")


class Listener:
    """Serves pages at one address until the process ends; `start()` returns at once, also while the port is taken.

    Where processes follow one another on one node (a new one starts before the old one leaves), the port belongs to
    the old one as long as it is there; a socket file is each one's own.
    """

    def __init__(self, address: TelemetryAddress, pages: Pages) -> None:
        self._address = address
        self._pages = pages
        self._open: OrderedDict[int, socket.socket] = OrderedDict()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._listener: socket.socket | None = None

    def start(self) -> "Listener":
        """Listen from a thread of its own."""
        threading.Thread(target=self._run, daemon=True, name=f"telemetry {self._address}").start()
        return self

    def close(self) -> None:
        """Give the address free."""
        self._closed.set()
        with self._lock:
            listener, self._listener = self._listener, None
        if listener:
            _shut(listener)  # which wakes the thread that accepts
            listener.close()

    def _run(self) -> None:
        listener = self._bound()
        while listener and not self._closed.is_set():
            try:
                connection, _ = listener.accept()
            except OSError as error:
                if self._closed.is_set():
                    return
                _log.warning("telemetry at %s takes no connection: %s", self._address, error)
                self._closed.wait(_AGAIN)
                continue
            self._admit(connection)
            try:
                threading.Thread(target=self._serve, args=(connection,), daemon=True, name="telemetry request").start()
            except RuntimeError:  # the machine has no thread left, which is when probes count most
                self._serve(connection)

    def _bound(self) -> socket.socket | None:
        told = False
        while not self._closed.is_set():
            try:
                listener = self._address.listen()
            except OSError as error:
                if not told:
                    why = "another process has it" if error.errno == errno.EADDRINUSE else str(error)
                    _log.warning("telemetry cannot listen on %s yet: %s", self._address, why)
                told = True
                self._closed.wait(_AGAIN)
                continue
            with self._lock:
                self._listener = listener
            return listener
        return None

    def _admit(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE)
        with self._lock:
            self._open[id(connection)] = connection
            oldest = self._open.popitem(last=False)[1] if len(self._open) > MOST_AT_ONCE else None
        if oldest:
            _shut(oldest)

    def _serve(self, connection: socket.socket) -> None:
        try:
            _Handler(connection, self._pages)
        except OSError:
            pass  # whoever asked has gone
        finally:
            with self._lock:
                self._open.pop(id(connection), None)
            _shut(connection)
            connection.close()


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):  # it may be shut already
        connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    """One request of one connection."""

    server_version = "kuik"
    sys_version = ""

    def __init__(self, connection: socket.socket, pages: Pages) -> None:
        self._pages = pages
        super().__init__(connection, ("", 0), None)  # type: ignore[arg-type]  # it needs no server

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def _answer(self) -> None:
        make = self._pages.get(urlsplit(self.path).path)
        page = _made(make) if make else text(404, f"ask for one of {' '.join(self._pages)}")
        self.send_response(page.status)
        self.send_header("Content-Type", page.media_type)
        self.send_header("Content-Length", str(len(page.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(page.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name that http.server gives it
        """Probes are not worth a line."""


def _made(make: Callable[[], Page]) -> Page:
    try:
        return make()
    except Exception:  # noqa: BLE001  whatever a page's maker raises, who asks gets an answer
        _log.exception("telemetry failed to answer")
        return text(500, "kuik failed to answer; its log says why")


def listen(addresses: Sequence[TelemetryAddress], pages: Pages) -> list[Listener]:
    """Serve the pages at every address."""
    return [Listener(address, pages).start() for address in addresses]
