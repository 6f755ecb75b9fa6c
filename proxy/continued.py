"""How a transfer that breaks goes on from the next source, before the client notices."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from proxy.outlet import Outlet, Pace, Slowness
from proxy.sources.message import Answer, Request
from proxy.span import ByteRange, Span
from proxy.stream import PiecesBody, cut
from registry.errors import Corrupt, RegistryError, Unreachable
from registry.response import Direct, TooSlow

AskNext = Callable[[Request, RegistryError], Answer]
"""Ask the sources that are left for a request, because of an error; raises RegistryError when none has it."""


KEPT_SECONDS, FETCHED_SECONDS = 1.0, 10.0
"""How long a source may be slow before others are asked: where it has the blob, and where it fetches it itself."""
SLOWEST = 16 * 1024
"""Bytes per second below which a source is slow."""


class Continued:
    """The body of one answer, with what the next sources have where it breaks. `begin()` it before anything else."""

    def __init__(self, answer: Answer, request: Request, ask_next: AskNext) -> None:
        self._request = request
        self._ask_next = ask_next
        self._source = answer.source
        self._size = answer.size
        self._span = answer.span or (Span(0, answer.size) if answer.size is not None else None)
        self._at = self._span.start if self._span else 0
        self._body = answer.body
        self._pieces = iter(answer.body)
        self._whole = True  # the pieces are all that the body has
        self._first: bytes | None = None
        self._pace: Pace | None = _pace(answer)
        self._slowness: Slowness | None = None
        self._slow: TooSlow | None = None

    def begin(self) -> None:
        """Have the first piece at hand, so that a source that breaks at once is none; raises when no source is left."""
        self._first = self._read()
        self._slowness = _slowness(self._pace)

    def __iter__(self) -> Iterator[bytes]:
        piece, self._first = self._first, None
        while piece is not None:
            yield piece
            piece = self._read()

    def pass_on(self, outlet: Outlet) -> Iterator[int]:
        """Send all that is left after the first piece; raises RegistryError when no source has it, and ClientLeft."""
        while True:
            direct = self._direct()
            if direct:
                yield from self._move(direct, outlet)
                continue
            piece = self._read()
            if piece is None:
                return
            outlet.send(piece)
            yield len(piece)

    def close(self) -> None:
        self._body.close()

    def _direct(self) -> Direct | None:
        body, span = self._body, self._span
        if not self._whole or span is None or not isinstance(body, PiecesBody):
            return None
        direct = body.direct()
        return direct if direct and direct.left == span.stop - self._at else None

    def _move(self, direct: Direct, outlet: Outlet) -> Iterator[int]:
        try:
            for count in outlet.pass_on(direct, self._pace):
                self._at += count
                yield count
        except TooSlow as slow:
            self._look_elsewhere(slow)
        except RegistryError as error:
            self._body.close()
            self._go_on(error)
        else:
            self._pieces = iter(())

    def _read(self) -> bytes | None:
        while True:
            if self._slow:
                slow, self._slow = self._slow, None
                self._look_elsewhere(slow)
            begun = time.monotonic()
            try:
                piece = self._within(next(self._pieces, None))
            except (RegistryError, OSError) as error:
                self._body.close()
                self._go_on(typed(error))
            else:
                self._at += len(piece or b"")
                if piece:
                    self._weigh(len(piece), time.monotonic() - begun)
                return piece

    def _weigh(self, count: int, seconds: float) -> None:
        """A piece came, which the client gets first, however slow it was."""
        if self._slowness and self._span and self._at < self._span.stop:
            try:
                self._slowness.came(count)
                self._slowness.waited(seconds)
            except TooSlow as slow:
                self._slow = slow

    def _within(self, piece: bytes | None) -> bytes | None:
        """The piece, and no byte beyond what was promised: the client would take that for the next answer."""
        span = self._span
        if span is None:
            return piece
        if piece is None and self._at < span.stop:
            raise Unreachable(f"{self._source} ended {span.stop - self._at} bytes before the end")
        return piece[: span.stop - self._at] or None if piece else None

    def _look_elsewhere(self, slow: TooSlow) -> None:
        """Leave a slow source for the next one; where there is none, slow is better than nothing."""
        body = self._body
        try:
            self._go_on(slow)
        except RegistryError:
            self._pace = self._slowness = None
        else:
            body.close()

    def _go_on(self, error: RegistryError) -> None:
        """Take the rest from the next source; not after damage, as what was sent may be wrong already."""
        span = self._span
        if span is None or (isinstance(error, Corrupt) and self._at > span.start):
            raise error
        rest = replace(self._request, range=ByteRange(self._at, span.stop - 1))
        while True:
            answer = self._ask_next(rest, error)
            begins = answer.span.start if answer.span else 0
            if answer.size == self._size and begins <= self._at:
                break
            answer.body.close()
            error = Unreachable(f"{answer.source} does not continue in the middle of a blob")
            if answer.size != self._size:
                error = Corrupt(f"{answer.source} has {answer.size} bytes of {rest.route}, not {self._size}")
        rest.story.went_on(self._source, answer.source, self._at, error)
        self._source = answer.source
        self._pace = _pace(answer)
        self._slowness = _slowness(self._pace)
        self._body = answer.body
        self._whole = answer.span == Span(self._at, span.stop)
        self._pieces = iter(answer.body) if self._whole else cut(answer.body, self._at - begins, span.stop - self._at)


def _pace(answer: Answer) -> Pace:
    """A source that has the blob gives it at once; one that fetches it may have to wait longer."""
    forwarded = "fwd" in answer.cache.partition(",")[0]
    seconds = FETCHED_SECONDS if forwarded else KEPT_SECONDS
    return Pace(seconds, int(SLOWEST * seconds))


def _slowness(pace: Pace | None) -> Slowness | None:
    return Slowness(pace) if pace else None


def typed(error: RegistryError | OSError) -> RegistryError:
    """A machine that is short of something, such as open files, is a source that does not answer."""
    return error if isinstance(error, RegistryError) else Unreachable(f"this machine failed: {error.strerror or error}")
