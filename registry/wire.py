"""The body of an answer as it comes from the socket, and the way past Python for who only passes it on."""

import contextlib
import io
import select
import socket
from collections.abc import Callable

import urllib3

from registry.errors import RegistryError
from registry.network import failure
from registry.response import Direct


class Wire:
    """The body of one answer of `host`; `timeout` is how many seconds to wait for its next bytes.

    `first` is how many for its first ones, where that differs. `count` is told of the bytes that came.
    """

    def __init__(
        self,
        answer: urllib3.HTTPResponse,
        host: str,
        timeout: float,
        count: Callable[[int], None] | None = None,
        first: float | None = None,
    ) -> None:
        self._count = count
        self._answer = answer
        self._host = host
        self._timeout = timeout
        self._broken: RegistryError | None = None
        self._read_ahead = True  # the bytes behind the headers are in the reader's buffer
        self._hurried = first is not None and first != timeout
        self._wait_for(timeout if first is None else first)

    def read(self, size: int) -> bytes:
        """Wait for some bytes, then take along what is there already: large pieces cost less all the way down."""
        if self._broken:
            raise self._broken
        pieces = [self._next(size)]
        room = size - len(pieces[0])
        while pieces[-1] and room and self._more_is_there():
            try:
                pieces.append(self._next(room))
            except RegistryError as error:
                # What came before the break still counts.
                self._broken = error
                break
            room -= len(pieces[-1])
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def direct(self) -> Direct | None:
        """The way past Python; None over TLS, in chunks, without a length, and before the first large `read`."""
        left, sock = self._answer.length_remaining, self._socket()
        if not left or self._read_ahead or self._broken or self._answer.chunked or type(sock) is not socket.socket:
            return None
        return Direct(sock, left, self._timeout, self._taken)

    def close(self) -> None:
        if self._answer.length_remaining == 0:  # as after a HEAD: nothing is unread, so the connection serves the next
            with contextlib.suppress(urllib3.exceptions.HTTPError):
                self._answer.read1(1)
        self._answer.close()
        self._answer.release_conn()

    def _next(self, size: int) -> bytes:
        try:
            piece = bytes(self._answer.read1(size, decode_content=False) or b"")
        except urllib3.exceptions.HTTPError as error:
            timed_out = isinstance(error, urllib3.exceptions.TimeoutError)
            raise failure(error, self._host, timed_out=timed_out) from None
        if self._count:
            self._count(len(piece))
        if self._hurried:
            self._hurried = False
            self._wait_for(self._timeout)
        # A buffered reader gives what it holds, and then reads as much as this past its buffer.
        self._read_ahead = self._read_ahead and size < io.DEFAULT_BUFFER_SIZE
        return piece

    def _wait_for(self, timeout: float) -> None:
        if sock := self._socket():
            with contextlib.suppress(OSError):  # it is gone already, which reading will tell
                sock.settimeout(timeout)

    def _more_is_there(self) -> bool:
        # What is there of a chunked answer may be only the end of a chunk, and reading on would wait for the next one.
        if self._answer.closed or self._answer.chunked:
            return False
        poll = select.poll()
        poll.register(self._answer, select.POLLIN)
        return bool(poll.poll(0))

    def _socket(self) -> socket.socket | None:
        """The socket below both libraries' readers, which neither of them shows."""
        reader = getattr(getattr(self._answer, "_fp", None), "fp", None)
        found = getattr(getattr(reader, "raw", None), "_sock", None)
        return found if isinstance(found, socket.socket) else None

    def _taken(self, count: int) -> None:
        """Let both libraries know what passed them by, so that they give the connection back at the end."""
        if self._count:
            self._count(count)
        wire, reader = self._answer, self._answer._fp
        wire.length_remaining = (wire.length_remaining or 0) - count
        if reader is None:
            return
        reader.length = (reader.length or 0) - count
        if not wire.length_remaining:
            reader.close()
            wire.release_conn()
