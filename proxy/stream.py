"""Bodies: bytes on their way to a client, in bounded pieces, closed when the client has them or is gone."""

import errno
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, Protocol, runtime_checkable

from proxy.outlet import ClientLeft, Outlet
from proxy.span import Span
from registry.errors import RegistryError, Unreachable
from registry.response import Direct, Response

PIECE = 256 * 1024
"""Bytes held for one stream at a time."""
FIRST_PIECE = 32 * 1024
"""Bytes that are read before the others may pass Python by."""


class Body(Protocol):
    """Pieces of bytes, once. Iterating raises RegistryError when the rest cannot come."""

    def __iter__(self) -> Iterator[bytes]: ...

    def close(self) -> None: ...


class NoBody:
    """Nothing: the answer to a HEAD."""

    def __iter__(self) -> Iterator[bytes]:
        return iter(())

    def close(self) -> None:
        """Nothing to close."""


class BytesBody:
    """A small body that is at hand, such as a manifest."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def __iter__(self) -> Iterator[bytes]:
        yield self.content

    def close(self) -> None:
        """Nothing to close."""


class FileBody:
    """A span of a complete file, which the server may send without the bytes passing through Python."""

    def __init__(self, file: BinaryIO, span: Span) -> None:
        self.file = file
        self.span = span

    def __iter__(self) -> Iterator[bytes]:
        at = self.span.start
        while at < self.span.stop:
            piece = os.pread(self.file.fileno(), min(PIECE, self.span.stop - at), at)
            if not piece:
                raise Unreachable("a stored blob is shorter than it was")
            at += len(piece)
            yield piece

    def close(self) -> None:
        self.file.close()


class PiecesBody:
    """Pieces that come from elsewhere, and what to close when they are no longer wanted.

    Where they are all that `response` still has, who passes them on may take its `direct` way after a first piece.
    """

    def __init__(self, pieces: Iterable[bytes], close: Callable[[], None], response: Response | None = None) -> None:
        self._pieces = iter(pieces)
        self._close = close
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def direct(self) -> Direct | None:
        """The socket that holds the rest, where it is a plain one."""
        return self._response.direct() if self._response else None

    def close(self) -> None:
        self._close()


def cut(pieces: Iterable[bytes], skip: int, length: int) -> Iterator[bytes]:
    """`length` bytes of `pieces`, after the first `skip`."""
    for piece in pieces:
        if skip >= len(piece):
            skip -= len(piece)
            continue
        part = piece[skip : skip + length]
        skip, length = 0, length - len(part)
        yield part
        if not length:
            return


@runtime_checkable
class Passing(Protocol):
    """A body that can be passed on without Python seeing it, once its first piece was read."""

    def pass_on(self, outlet: Outlet, /) -> Iterator[int]:
        """Send all the rest; gives the bytes sent, move by move. Raises RegistryError and ClientLeft."""


class Sending:
    """The iterable that a WSGI server sends; tells `done(sent, error)` exactly once how it ended.

    The server sends the first piece, and its headers with it. The rest of a body that can be passed on then goes to
    the client's socket directly, where that is given.

    A body that breaks off must look broken: the connection is cut, so that the client never takes what it has for
    all of it. To the server that is a connection reset, which it closes without another word.
    """

    def __init__(
        self, body: Body, done: Callable[[int, RegistryError | None], None], client: socket.socket | None = None
    ) -> None:
        self._body = body
        self._pieces = iter(body)
        self._done = done
        self._outlet = Outlet(client) if client and isinstance(body, Passing) else None
        self._sent = 0
        self._error: RegistryError | None = None
        self._open = True

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            if self._outlet and self._sent:
                self._pass_on(self._outlet)
            piece = next(self._pieces)
        except RegistryError as error:
            self._error = error
            raise ConnectionResetError(errno.ECONNRESET, "the body broke off") from error
        except ClientLeft as gone:
            raise ConnectionResetError(errno.ECONNRESET, "the client left") from gone
        self._sent += len(piece)
        return piece

    def _pass_on(self, outlet: Outlet) -> None:
        assert isinstance(self._body, Passing)  # noqa: S101  as __init__ saw
        for count in self._body.pass_on(outlet):
            self._sent += count

    def close(self) -> None:
        if self._open:
            self._open = False
            self._body.close()
            self._done(self._sent, self._error)


class SendingFile:
    """The file object that a WSGI server's file wrapper sends, by sendfile; tells `done(sent, None)` when closed."""

    def __init__(self, body: FileBody, done: Callable[[int, RegistryError | None], None]) -> None:
        self._body = body
        self._done = done
        self._sent = 0
        self._open = True
        os.lseek(body.file.fileno(), body.span.start, os.SEEK_SET)

    def fileno(self) -> int:
        return self._body.file.fileno()

    def seek(self, position: int) -> None:
        """socket.sendfile seeks to where it begins, and at the end to where it came: that tells what was sent."""
        self._sent = position - self._body.span.start
        os.lseek(self.fileno(), position, os.SEEK_SET)

    def read(self, size: int = -1) -> bytes:
        """For servers without sendfile; they stop at the Content-Length."""
        piece = os.read(self.fileno(), PIECE if size < 0 else size)
        self._sent = min(self._sent + len(piece), self._body.span.length)
        return piece

    def close(self) -> None:
        if self._open:
            self._open = False
            self._body.close()
            self._done(self._sent, None)
