"""The client's socket, and how bytes get into it without passing through Python (splice(2))."""

import os
import select
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

from registry.pipes import PIPES, Pipes, fill
from registry.response import Direct, TimedOut, TooSlow


class ClientLeft(Exception):
    """The client closed its connection, so nobody wants the rest."""


@dataclass(frozen=True, slots=True)
class Pace:
    """At least so many bytes in so many seconds of waiting for them."""

    seconds: float
    bytes: int


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
                count = fill(direct, into, left, watch.wait)
                watch.came(count)
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
