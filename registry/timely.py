"""Answers whose status line and headers have to come in time in all, not only each byte of them."""

import contextlib
import http.client
import io
import socket
import time
from typing import Any


class TimelyResponse(http.client.HTTPResponse):
    """An answer that a peer cannot draw out: its headers have the seconds of the socket's timeout, all together.

    Raises TimeoutError when they are over. The body is waited for as the socket's timeout says, as ever.
    """

    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        self._timed = sock
        self._timeout = sock.gettimeout()
        self._reader = _Reader(sock, self._timeout)
        super().__init__(_Opened(sock, self._reader), *arguments, **options)  # type: ignore[arg-type]

    def begin(self) -> None:
        super().begin()
        self._untimed()

    def close(self) -> None:
        self._untimed()  # who closes it without its body, as after CONNECT, goes on with the socket
        super().close()

    def _untimed(self) -> None:
        if self._reader.until is not None:
            self._reader.until = None
            with contextlib.suppress(OSError):  # it is gone already
                self._timed.settimeout(self._timeout)


class _Reader(socket.SocketIO):
    """Reads from a socket, until a moment that is that many seconds away."""

    def __init__(self, sock: socket.socket, seconds: float | None) -> None:
        super().__init__(sock, "r")
        self._source = sock
        self.until = None if seconds is None else time.monotonic() + seconds

    def readinto(self, buffer: Any) -> int | None:
        if self.until is not None:
            left = self.until - time.monotonic()
            if left <= 0:
                raise TimeoutError("the headers did not come in time")
            self._source.settimeout(left)
        return super().readinto(buffer)


class _Opened:
    """What http.client makes a file of: a socket, which stays open as long as the file."""

    def __init__(self, sock: socket.socket, reader: _Reader) -> None:
        self._sock = sock
        self._reader = reader

    def makefile(self, _mode: str) -> io.BufferedReader:
        self._sock._io_refs += 1  # type: ignore[attr-defined]  # as its own `makefile` does
        return io.BufferedReader(self._reader)
