"""One blob on its way from upstream to the spool, and those who read it meanwhile."""

import os
import threading
from collections.abc import Callable, Iterator
from typing import BinaryIO

from proxy.span import Span
from proxy.stream import PIECE
from registry.digest import Digest
from registry.errors import Corrupt, RegistryError, StoreFull


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
        """The blob comes: `size` bytes in all (None while nobody tells), `written` of them in `file` already.

        May be called again when another takes the transfer over; raises Corrupt when that is not the same file or size.
        """
        with self._changed:
            if self._file:
                if self.size not in (None, size) or not os.path.sameopenfile(self._file.fileno(), file.fileno()):
                    file.close()
                    raise Corrupt(f"blob {self.digest} began to come as something else than it is now")
                self._file.close()
            self.size, self._file, self._written = size, file, written
            self._changed.notify_all()

    def advanced(self, written: int) -> None:
        """There are `written` bytes in the file now."""
        with self._changed:
            if written != self._written:
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

    def follow(self, *, sized: bool) -> BinaryIO | None:
        """Wait until the blob comes: the file that grows, for this caller to close; None when all of it is kept.

        Who needs its size (`sized`) waits for the end where upstream does not tell it before. Raises what the transfer
        failed with.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._finished or self._error or (self._file and (self.size is not None or not sized))
            )
            if self._error:
                raise _fresh(self._error)
            if self._finished or self._file is None:
                return None
            return os.fdopen(os.dup(self._file.fileno()), "rb", buffering=0)

    def beyond(self, position: int) -> int:
        """Wait for bytes after `position`, or the end: how far they go. Raises what the transfer failed with."""
        with self._changed:
            self._changed.wait_for(lambda: self._error or self._finished or self._shown() > position)
            if self._error:
                raise _fresh(self._error)
            return self._shown()

    def _shown(self) -> int:
        if self._finished:
            return self.size or 0
        written = self._written if self.size is None else min(self._written, self.size)
        # While the size is not known, any byte may be the last.
        return written - 1 if self.size in (None, written) else written


class FollowingBody:
    """A span of a blob, read from the file that grows; all of it where its size is not known yet (`span` None).

    When the disk is full the rest comes from `through(span)`, straight from upstream.
    """

    def __init__(
        self, fetch: Fetch, file: BinaryIO, span: Span | None, through: Callable[[Span], Iterator[bytes]]
    ) -> None:
        self._fetch = fetch
        self._file = file
        self._at = span.start if span else 0
        self._stop = span.stop if span else None
        self._through = through
        self._first: bytes | None = None

    def begin(self) -> None:
        """Have the first piece at hand; raises what the transfer failed with, while that can still be told.

        Later a reader only sees its connection close; but then it has some bytes, and comes back for the rest.
        """
        if self._at != self._stop:
            self._first = self._piece()

    def __iter__(self) -> Iterator[bytes]:
        while self._at != self._stop:
            piece, self._first = self._piece() if self._first is None else self._first, None
            if not piece:
                if self._stop is not None:
                    yield from self._through(Span(self._at, self._stop))
                return
            self._at += len(piece)
            yield piece

    def close(self) -> None:
        self._file.close()

    def _piece(self) -> bytes:
        """The next bytes; none at the end of a blob whose size was not known, or where they are on no disk."""
        try:
            shown = self._fetch.beyond(self._at)
        except StoreFull:
            if self._stop is None:  # nobody knows how much the rest is
                raise
            return b""
        end = shown if self._stop is None else min(shown, self._stop)
        return os.pread(self._file.fileno(), min(PIECE, end - self._at), self._at)


def _fresh(error: RegistryError) -> RegistryError:
    """The same error without the traces of others who raised it."""
    return error.with_traceback(None)
