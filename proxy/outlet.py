"""The client's socket, and how bytes get into it without passing through Python (splice(2))."""

import contextlib
import errno
import fcntl
import os
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

from registry.errors import Unreachable
from registry.response import Direct, TimedOut, TooSlow

PIPE_BYTES = 1 << 20
"""What a pipe may hold: the system's limit for those who are not root (proc(5), pipe-max-size)."""

_KEPT = 16


class ClientLeft(Exception):
    """The client closed its connection, so nobody wants the rest."""


@dataclass(frozen=True, slots=True)
class Pace:
    """At least so many bytes in so many seconds of waiting for them."""

    seconds: float
    bytes: int


class Pipes:
    """Pipes that are not in use, each of them empty; threads share it."""

    def __init__(self) -> None:
        self._idle: list[tuple[int, int]] = []
        self._lock = threading.Lock()

    @contextmanager
    def one(self) -> Iterator[tuple[int, int]]:
        """An empty pipe. Whoever leaves with an error may have left bytes in it, so it is not used again."""
        pipe = self._take()
        try:
            yield pipe
        except BaseException:
            _close(pipe)
            raise
        with self._lock:
            if len(self._idle) < _KEPT:
                self._idle.append(pipe)
                return
        _close(pipe)

    def _take(self) -> tuple[int, int]:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        pipe = os.pipe()
        with contextlib.suppress(OSError):  # a user may have only so many large pipes, and a small one does as well
            fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        return pipe


PIPES = Pipes()


class Outlet:
    """A client's plain, blocking socket, once the headers of an answer were written to it."""

    def __init__(self, client: socket.socket, pipes: Pipes = PIPES) -> None:
        self._client = client
        self._pipes = pipes

    def send(self, piece: bytes) -> None:
        """Write bytes that Python holds; raises ClientLeft."""
        try:
            self._client.sendall(piece)
        except OSError as error:
            raise ClientLeft from error

    def pass_on(self, direct: Direct, pace: Pace | None = None) -> Iterator[int]:
        """Move what is left of a body; gives the number of bytes that reached the client after each move.

        Raises Unreachable when the body breaks off or is silent for its timeout, TooSlow when it comes more slowly
        than at `pace`, and ClientLeft. What was counted was moved, and nothing else, so that another source, or after
        TooSlow the same one, can go on from there.
        """
        left, watch = direct.left, Watch(direct, pace)
        with self._pipes.one() as (out, into):
            while left:
                count = _fill(direct, into, left, watch)
                left -= count
                self._drain(out, count, more=left > 0)
                direct.taken(count)
                yield count

    def _drain(self, out: int, count: int, *, more: bool) -> None:
        flags = os.SPLICE_F_MOVE | (os.SPLICE_F_MORE if more else 0)
        while count:
            try:
                count -= os.splice(out, self._client.fileno(), count, flags=flags)
            except OSError as error:
                raise ClientLeft from error


@cache
def splices() -> bool:
    """Whether this system moves bytes from one TCP socket to another by splice; some sandboxes do not."""
    try:
        with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as near:
            far, _ = server.accept()
            with far, PIPES.one() as (out, into):
                near.sendall(b"x")
                moved = os.splice(far.fileno(), into, 1)
                return bool(moved and os.splice(out, far.fileno(), moved) and near.recv(1))
    except OSError:
        return False


class Slowness:
    """Whether a body comes at a pace: time that the client takes does not count."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._waited = 0.0
        self._bytes = 0

    @property
    def left(self) -> float:
        """Seconds of waiting until it is judged next."""
        return max(self._pace.seconds - self._waited, 0.0)

    def came(self, count: int) -> None:
        """So many bytes were there."""
        self._bytes += count

    def waited(self, seconds: float) -> None:
        """They were waited for so long; raises TooSlow."""
        self._waited += seconds
        if self._waited < self._pace.seconds:
            return
        if self._bytes < self._pace.bytes:
            raise TooSlow(f"{self._bytes} bytes came in {self._waited:.0f} s")
        self._waited, self._bytes = 0.0, 0


class Watch:
    """How long a body's next bytes are waited for."""

    def __init__(self, direct: Direct, pace: Pace | None) -> None:
        self._direct = direct
        self._slowness = Slowness(pace) if pace else None

    def came(self, count: int) -> None:
        """So many bytes were there."""
        if self._slowness:
            self._slowness.came(count)

    def wait(self) -> None:
        """Return when there is more; raises TimedOut, TooSlow."""
        poll = select.poll()
        poll.register(self._direct.socket, select.POLLIN)
        timeout = self._slowness.left if self._slowness else self._direct.timeout
        begun = time.monotonic()
        there = poll.poll(timeout * 1000)
        if self._slowness:
            self._slowness.waited(time.monotonic() - begun)
        elif not there:
            raise TimedOut(f"nothing came for {timeout:.0f} s")


def _fill(direct: Direct, into: int, left: int, watch: Watch) -> int:
    """Move what is there into the pipe, which is empty; wait where nothing is."""
    while True:
        try:
            count = os.splice(direct.socket.fileno(), into, min(left, PIPE_BYTES), flags=os.SPLICE_F_MOVE)
        except BlockingIOError:
            watch.wait()
            continue
        except OSError as error:
            raise Unreachable(f"the connection broke: {os.strerror(error.errno or errno.EIO).lower()}") from error
        if not count:
            raise Unreachable(f"it broke off, {left} bytes before the end")
        watch.came(count)
        return count


def _close(pipe: tuple[int, int]) -> None:
    for end in pipe:
        os.close(end)
