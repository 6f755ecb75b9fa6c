"""What a registry answered: status and headers at once, the body as it comes."""

import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from registry.address import Address
from registry.errors import Corrupt, Unreachable

PIECE = 1 << 20
_DRAIN = 64 * 1024
BEGINNING_SECONDS = 5.0
"""In which the words of an error come, or are not waited for."""


class TimedOut(Unreachable):
    """No answer within the timeout; asking the same host again would only wait as long again."""


class TooSlow(TimedOut):
    """A body comes so slowly that another source is worth a question. It can go on where it is."""


@dataclass(frozen=True, slots=True)
class Direct:
    """A body whose next bytes are in a plain socket and nowhere else: `left` bytes of it are still to come.

    Whoever takes bytes from the socket says so by `taken(count)`; after the last one the connection serves the next
    request. The socket does not block; who waits for it waits `timeout` seconds.
    """

    socket: socket.socket
    left: int
    timeout: float
    taken: Callable[[int], None]


class Body(Protocol):
    """The bytes still on the wire."""

    def read(self, size: int) -> bytes:
        """At least one byte and at most `size`, undecoded; b"" at the end. Raises Unreachable when it breaks."""

    def direct(self) -> Direct | None:
        """The way past Python, where there is one now."""

    def close(self) -> None:
        """Free the connection; unread bytes are lost."""


class Response:
    """One answer. `headers` ignores case; `address` is where it came from, after any redirects.

    Close it, or use it as a context manager; a body read to its end gives its connection back by itself.
    """

    def __init__(self, status: int, headers: Mapping[str, str], body: Body, *, method: str, address: Address) -> None:
        self.status = status
        self.headers = headers
        self.address = address
        self.redirected = False
        self._body = body
        self._bodyless = method == "HEAD" or status in (204, 304)

    @property
    def length(self) -> int | None:
        """Content-Length in bytes, where it is there and a number."""
        text = self.headers.get("Content-Length", "").strip()
        return int(text) if text.isdecimal() and text.isascii() and len(text) < 20 else None

    def pieces(self, size: int = PIECE, first: int | None = None) -> Iterator[bytes]:
        """The body, undecoded, in pieces of at most `size` bytes, each as soon as it is there.

        The first one has at most `first` bytes, for who takes the `direct` way after it.
        Raises Unreachable when the connection breaks or ends before Content-Length.
        """
        expected = None if self._bodyless else self.length
        got = 0
        while piece := self._body.read(size if got or first is None else first):
            got += len(piece)
            yield piece
        if expected is not None and got < expected:
            raise Unreachable(f"{self.address.host} broke off after {got} of {expected} bytes")

    def read(self, limit: int, within: float | None = None) -> bytes:
        """The whole body; raises Corrupt when it has more than `limit` bytes, Unreachable when it breaks.

        Raises TooSlow when some of it is still missing after `within` seconds.
        """
        since = time.monotonic()
        parts: list[bytes] = []
        total = 0
        for piece in self.pieces(min(limit + 1, PIECE)):
            total += len(piece)
            if total > limit:
                self.close()
                raise Corrupt(f"{self.address.host} sent more than the {limit} bytes that kuik reads here")
            parts.append(piece)
            if within is not None and total != self.length and time.monotonic() - since > within:
                self.close()
                raise TooSlow(f"{self.address.host} is slow: {total} bytes in {within:.1f} s")
        return b"".join(parts)

    def direct(self) -> Direct | None:
        """The socket that the rest of the body can be taken from, for who only passes it on.

        None over TLS, in chunks, without a length, and before a piece was read. What was begun so is finished so.
        """
        return None if self._bodyless else self._body.direct()

    def beginning(self, limit: int) -> bytes:
        """Up to `limit` bytes of the body, whatever happens to the rest; then the answer is closed.

        What has not come after some seconds is not waited for.
        """
        text, until = b"", time.monotonic() + BEGINNING_SECONDS
        try:
            while len(text) < limit and (piece := self._body.read(limit - len(text))):
                text += piece
                if time.monotonic() > until and len(text) != self.length:
                    self.close()
                    return text
        except Unreachable:
            pass
        self.discard()
        return text

    def discard(self) -> None:
        """Close, and keep the connection for the next request when little is left to read."""
        try:
            if self._bodyless or (self.length or 0) <= _DRAIN:
                self._body.read(_DRAIN)
                self._body.read(1)
        except Unreachable:
            pass
        self.close()

    def close(self) -> None:
        self._body.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
