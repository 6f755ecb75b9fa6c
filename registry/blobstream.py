"""A blob as it comes, whole though the connection breaks (distribution-spec, "Pulling blobs"; RFC 9110, Range)."""

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self

from registry.digest import Digest
from registry.errors import Corrupt, ServerFailure, Unreachable
from registry.failures import raise_for
from registry.pipes import P, Piece, piped, through_pipe
from registry.response import PIECE, Response, TimedOut
from registry.retries import Retries

if TYPE_CHECKING:
    from werkzeug.datastructures import ContentRange

_PROGRESS = 8 << 20
_FIRST = 32 * 1024
"""Bytes that are read before the others may pass Python by."""


class BlobStream:
    """The bytes of one blob from `start` on; iterate it once.

    `size` is that of the whole blob in bytes, None while the registry does not tell. A break is resumed where it
    happened (`resumed` counts that), as often as `retries` says (a timeout counts twice) without 8 MiB of progress.
    Raises Unreachable when that is not enough, Corrupt when the blob changes in between. The digest is not checked
    here: see `registry.verify`.
    """

    def __init__(self, digest: Digest, start: int, request: Callable[[int], Response], retries: Retries) -> None:
        self.digest = digest
        self.size: int | None = None
        self._position = start
        self._request = request
        self._retries = retries
        self._response: Response | None = None
        self._skip = 0
        self.resumed = 0
        self._open()

    def __iter__(self) -> Iterator[bytes]:
        return self._mended(self._rest)

    def piped(self) -> Iterator[Piece]:
        """The same, in pipes where that can be, for who passes the bytes on."""
        return self._mended(self._rest_piped)

    def _mended(self, rest: Callable[[], Iterator[P]]) -> Iterator[P]:
        breaks, mark = 0, self._position
        while True:
            try:
                yield from rest()
            except Unreachable as error:
                weight = 2 if isinstance(error, TimedOut) else 1
                breaks = weight + (breaks if self._position - mark < _PROGRESS else 0)
                mark = self._position
                if breaks > self._retries.breaks:
                    raise
                self._retries.sleep(self._retries.pause(breaks))
                self._open()
                self.resumed += 1
            else:
                return

    def close(self) -> None:
        """Stop, and free the connection."""
        if self._response:
            self._response.close()
            self._response = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _rest(self) -> Iterator[bytes]:
        if self._response is None:
            return
        for piece in self._response.pieces(PIECE):
            yield from self._wanted(piece)
        self._ended()

    def _rest_piped(self) -> Iterator[Piece]:
        if self._response is None:
            return
        for piece in self._response.pieces(PIECE, _FIRST):
            yield from self._wanted(piece)
            direct = None if self._skip else self._response.direct()
            if direct and (moved := through_pipe(direct)):
                for one in moved:
                    self._position += len(one)
                    yield one
                break
        self._ended()

    def _wanted(self, piece: bytes) -> Iterator[bytes]:
        skipped = min(self._skip, len(piece))
        self._skip -= skipped
        rest = piece[skipped:] if skipped else piece
        self._position += len(rest)
        if rest:
            yield rest

    def _ended(self) -> None:
        self.close()
        if self.size is not None and self._position < self.size:
            raise Unreachable(f"blob {self.digest} ended after {self._position} of {self.size} bytes")

    def _open(self) -> None:
        self.close()
        if self._position and self._position == self.size:
            return
        response = self._request(self._position)
        try:
            self._accept(response)
        except BaseException:
            response.close()
            raise

    def _accept(self, response: Response) -> None:
        if response.status == 416:
            self._past_the_end(response)
            response.discard()
            return
        raise_for(response, f"blob {self.digest}")
        first, size = _extent(response)
        self._learn(size, response.address.host)
        if first > self._position:
            raise ServerFailure(
                f"{response.address.host} sent blob {self.digest} from byte {first}, not {self._position}"
            )
        self._skip = self._position - first
        self._response = response

    def _past_the_end(self, response: Response) -> None:
        content_range = _content_range(response)
        size = content_range.length if content_range else None
        if size is None:
            # Nothing more is there, and nobody says whether that is right: the digest will.
            return
        self._learn(size, response.address.host)
        if self._position > size:
            raise Corrupt(f"blob {self.digest} has {size} bytes at {response.address.host}, fewer than already read")

    def _learn(self, size: int | None, host: str) -> None:
        if size is not None and self.size not in (None, size):
            raise Corrupt(f"blob {self.digest} changed its size at {host} from {self.size} to {size} bytes")
        self.size = self.size if size is None else size


class ContinuedStream(BlobStream):
    """A stream from byte `start` on and, where it breaks for good, the rest, which `rest(position)` opens."""

    def __init__(self, stream: BlobStream, start: int, rest: Callable[[int], BlobStream]) -> None:
        self.digest = stream.digest
        self.size = stream.size
        self.resumed = 0
        self._now = stream
        self._at = start
        self._rest_from = rest

    def __iter__(self) -> Iterator[bytes]:
        return self._continued(iter)

    def piped(self) -> Iterator[Piece]:
        return self._continued(lambda stream: iter(piped(stream)))

    def _continued(self, pieces: Callable[[BlobStream], Iterator[P]]) -> Iterator[P]:
        try:
            for piece in pieces(self._now):
                self._at += len(piece)
                yield piece
        except Unreachable:
            self._now.close()
            self._now = self._rest_from(self._at)
            self.resumed += 1
            if None not in (self.size, self._now.size) and self.size != self._now.size:
                raise
            yield from pieces(self._now)

    def close(self) -> None:
        self._now.close()


def _content_range(response: Response) -> "ContentRange | None":
    from werkzeug.http import parse_content_range_header  # late: half of a copy's start, and few answers are ranges

    return parse_content_range_header(response.headers.get("Content-Range"))


def _extent(response: Response) -> tuple[int, int | None]:
    """The first byte that an answer holds, and the size of the whole blob where it is told."""
    if response.status != 206:
        return 0, response.length
    content_range = _content_range(response)
    if content_range is None or content_range.start is None or content_range.units != "bytes":
        raise ServerFailure(f"{response.address.host} answered a range without saying which")
    return content_range.start, content_range.length
