"""One blob on its way from upstream to the spool, and those who read it meanwhile."""

import os
import threading
from collections.abc import Callable, Iterator
from typing import BinaryIO

from proxy.span import Span
from proxy.stream import PIECE
from registry.digest import Digest
from registry.errors import RegistryError, StoreFull


class Fetch:
    """What is known of a transfer. One thread fills it, any number follow; it never waits for those who follow.

    The last byte is not shown before the digest of all is proven, so that no reader has a complete wrong blob.
    """

    def __init__(self, digest: Digest) -> None:
        self.digest = digest
        self.size: int | None = None
        self._changed = threading.Condition()
        self._written = 0
        self._file: BinaryIO | None = None
        self._finished = False
        self._error: RegistryError | None = None

    # for the thread that fills it

    def answered(self, size: int | None, file: BinaryIO, written: int) -> None:
        """Upstream sends: `size` bytes in all (None where it does not tell), `written` of them in `file` already."""
        with self._changed:
            self.size, self._file, self._written = size, file, written
            self._changed.notify_all()

    def advanced(self, written: int) -> None:
        """There are `written` bytes in the file now."""
        with self._changed:
            self._written = written
            self._changed.notify_all()

    def finished(self, size: int) -> None:
        """All bytes are proven and kept."""
        with self._changed:
            self.size, self._finished = size, True
            self._end()

    def failed(self, error: RegistryError) -> None:
        """It ends here."""
        with self._changed:
            self._error = error
            self._end()

    def _end(self) -> None:
        if self._file:
            self._file.close()
            self._file = None
        self._changed.notify_all()

    # for those who follow

    def follow(self) -> BinaryIO | None:
        """Wait until upstream answered: the file that grows, for this caller to close; None when all of it is kept.

        Without a size from upstream this waits for the end. Raises what the transfer failed with.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._finished or self._error or (self._file and self.size is not None))
            if self._error:
                raise _fresh(self._error)
            if self._finished or self._file is None:
                return None
            return os.fdopen(os.dup(self._file.fileno()), "rb", buffering=0)

    def beyond(self, position: int) -> int:
        """Wait for bytes after `position`: how far they go. Raises what the transfer failed with."""
        with self._changed:
            self._changed.wait_for(lambda: self._error or self._shown() > position)
            if self._error:
                raise _fresh(self._error)
            return self._shown()

    def _shown(self) -> int:
        if self._finished or self.size is None:
            return self.size or 0
        return min(self._written, self.size - 1)


class FollowingBody:
    """A span of a blob, read from the file that grows.

    When the disk is full the rest comes from `through(span)`, straight from upstream.
    """

    def __init__(self, fetch: Fetch, file: BinaryIO, span: Span, through: Callable[[Span], Iterator[bytes]]) -> None:
        self._fetch = fetch
        self._file = file
        self._span = span
        self._through = through
        self._first: bytes | None = None

    def begin(self) -> None:
        """Have the first piece at hand; raises what the transfer failed with, while that can still be told.

        Later a reader only sees its connection close; but then it has some bytes, and comes back for the rest.
        """
        if self._span.start < self._span.stop:
            self._first = self._piece(self._span.start, self._span.stop)

    def __iter__(self) -> Iterator[bytes]:
        at, stop = self._span.start, self._span.stop
        while at < stop:
            piece, self._first = self._piece(at, stop) if self._first is None else self._first, None
            if not piece:
                yield from self._through(Span(at, stop))
                return
            at += len(piece)
            yield piece

    def close(self) -> None:
        self._file.close()

    def _piece(self, at: int, stop: int) -> bytes:
        try:
            shown = self._fetch.beyond(at)
        except StoreFull:
            return b""
        return os.pread(self._file.fileno(), min(PIECE, shown - at, stop - at), at)


def _fresh(error: RegistryError) -> RegistryError:
    """The same error without the traces of others who raised it."""
    return error.with_traceback(None)
