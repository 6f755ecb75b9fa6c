"""Byte ranges of blobs (RFC 9110, 14): what a client asks for, and what it means once the size is known."""

import re
from dataclasses import dataclass
from typing import Self

from werkzeug.http import parse_range_header

from proxy.errors import RangeNotSatisfiable

_CLOSED = re.compile(r"bytes=([0-9]{1,18})-([0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class Span:
    """The bytes of a blob from `start` (included) to `stop` (excluded)."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class ByteRange:
    """One range as asked for: from `first` to `last` (both included), to the end, or the last `-first` bytes."""

    first: int
    last: int | None = None

    @classmethod
    def parse(cls, header: str | None) -> Self | None:
        """Read a Range header; None where there is nothing to obey: no bytes, malformed, or several ranges at once.

        One that ends before it begins is kept, as OCI's conformance wants it answered 416 and not ignored.
        """
        if header and (backwards := _CLOSED.fullmatch(header)):
            first, last = (int(text) for text in backwards.groups())
            if last < first:
                return cls(first, last)
        found = parse_range_header(header) if header else None
        if found is None or found.units != "bytes" or len(found.ranges) != 1:
            return None
        ((start, stop),) = found.ranges
        return cls(start, None if stop is None else stop - 1)

    def within(self, size: int) -> Span:
        """The bytes that this means in a blob of `size` bytes; raises RangeNotSatisfiable."""
        if self.first < 0:
            start, stop = max(size + self.first, 0), size
        else:
            start, stop = self.first, size if self.last is None else min(self.last + 1, size)
        if start >= stop:
            raise RangeNotSatisfiable(size)
        return Span(start, stop)

    def __str__(self) -> str:
        if self.first < 0:
            return f"bytes={self.first}"
        return f"bytes={self.first}-{'' if self.last is None else self.last}"


def span_of(wanted: ByteRange | None, size: int) -> Span:
    """What to send: all of it where no range is asked for; raises RangeNotSatisfiable."""
    return wanted.within(size) if wanted else Span(0, size)


def content_range(span: Span, size: int) -> str:
    """The Content-Range header of a 206."""
    return f"bytes {span.start}-{span.stop - 1}/{size}"


def parse_content_range(header: str) -> tuple[Span, int] | None:
    """Read the Content-Range of a 206 as span and size; None when it says no such thing."""
    unit, _, rest = header.partition(" ")
    interval, _, size = rest.partition("/")
    first, _, last = interval.partition("-")
    if unit != "bytes" or not (first.isdecimal() and last.isdecimal() and size.isdecimal()):
        return None
    span = Span(int(first), int(last) + 1)
    return (span, int(size)) if span.start < span.stop <= int(size) else None
