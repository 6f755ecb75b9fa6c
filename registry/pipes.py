"""Bytes that go from one plain socket to another without passing through Python (splice(2))."""

import contextlib
import errno
import fcntl
import os
import select
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Protocol, TypeVar, runtime_checkable

from registry.errors import Unreachable
from registry.response import Direct, TimedOut

PIPE_BYTES = 1 << 20
"""What a pipe may hold: the system's limit for those who are not root (proc(5), pipe-max-size)."""

_KEPT = 16
_WORTH = 64 * 1024


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


def fill(direct: Direct, into: int, left: int, wait: Callable[[], None]) -> int:
    """Move what is there into a pipe, which is empty; `wait` where nothing is. Raises Unreachable, and as `wait`."""
    while True:
        try:
            count = os.splice(direct.socket.fileno(), into, min(left, PIPE_BYTES), flags=os.SPLICE_F_MOVE)
        except BlockingIOError:
            wait()
            continue
        except OSError as error:
            raise Unreachable(f"the connection broke: {os.strerror(error.errno or errno.EIO).lower()}") from error
        if not count:
            raise Unreachable(f"it broke off, {left} bytes before the end")
        return count


class Piped:
    """Bytes of a body that are in a pipe: they go `into` a socket, or come as bytes to who iterates over this; once."""

    def __init__(self, pipe: int, count: int) -> None:
        self._pipe = pipe
        self._left = count
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[bytes]:
        while self._left:
            piece = os.read(self._pipe, self._left)
            self._left -= len(piece)
            yield piece

    def into(self, sock: socket.socket) -> None:
        """Write all to a plain socket; how long each time it may take nothing is its timeout. Raises OSError."""
        while self._left:
            try:
                self._left -= os.splice(self._pipe, sock.fileno(), self._left, flags=os.SPLICE_F_MOVE)
            except BlockingIOError:
                _wait_for_room(sock)


Piece = bytes | Piped
P = TypeVar("P", bound=Piece)


@runtime_checkable
class Piping(Protocol):
    """Pieces of a body that can come in pipes too."""

    def piped(self) -> Iterator[Piece]: ...


class Through(Protocol):
    """Something that sees pieces pass, such as what counts them."""

    def __call__(self, pieces: Iterable[P], /) -> Iterator[P]: ...


class Passed:
    """Pieces that come `through` something else; those in pipes stay in them."""

    def __init__(self, pieces: Iterable[bytes], through: Through) -> None:
        self._pieces = pieces
        self._through = through

    def __iter__(self) -> Iterator[bytes]:
        return self._through(self._pieces)

    def piped(self) -> Iterator[Piece]:
        return self._through(piped(self._pieces))


def piped(pieces: Iterable[bytes]) -> Iterable[Piece]:
    """The same pieces, in pipes where they can come so. Each is to be used up before the next one is asked for."""
    return pieces.piped() if isinstance(pieces, Piping) else pieces


def through_pipe(direct: Direct) -> Iterator[Piped] | None:
    """All that is left of a body, in a pipe; None where this system cannot do that, or it is not worth it.

    Iterating raises Unreachable where it breaks off, and TimedOut.
    """
    return _moved(direct) if direct.left >= _WORTH and splices() else None


def _moved(direct: Direct) -> Iterator[Piped]:
    left = direct.left
    with PIPES.one() as (out, into):
        while left:
            count = fill(direct, into, left, partial(_wait_for_more, direct))
            left -= count
            direct.taken(count)
            yield Piped(out, count)


def _wait_for_more(direct: Direct) -> None:
    if not _ready(direct.socket, select.POLLIN, direct.timeout):
        raise TimedOut(f"nothing came for {direct.timeout:.0f} s")


def _wait_for_room(sock: socket.socket) -> None:
    if not _ready(sock, select.POLLOUT, sock.gettimeout()):
        raise TimeoutError("nothing was taken for too long")


def _ready(sock: socket.socket, event: int, timeout: float | None) -> bool:
    poll = select.poll()
    poll.register(sock, event)
    return bool(poll.poll(None if timeout is None else timeout * 1000))


def _close(pipe: tuple[int, int]) -> None:
    for end in pipe:
        os.close(end)
