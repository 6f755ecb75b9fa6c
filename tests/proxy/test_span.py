"""Byte ranges."""

import pytest

from proxy.errors import RangeNotSatisfiable
from proxy.span import ByteRange, Span, content_range, parse_content_range


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-0", Span(0, 1)),
        ("bytes=2-5", Span(2, 6)),
        ("bytes=2-", Span(2, 10)),
        ("bytes=2-99", Span(2, 10)),
        ("bytes=-3", Span(7, 10)),
        ("bytes=-99", Span(0, 10)),
    ],
)
def test_what_a_range_means_in_ten_bytes(header: str, span: Span) -> None:
    wanted = ByteRange.parse(header)
    assert wanted
    assert wanted.within(10) == span
    again = ByteRange.parse(str(wanted))
    assert again == wanted
    assert parse_content_range(content_range(span, 10)) == (span, 10)


@pytest.mark.parametrize("header", [None, "", "bytes", "bytes=a-b", "items=0-1", "bytes=0-1,3-4", "bytes=-0"])
def test_a_range_that_is_none_is_ignored(header: str | None) -> None:
    assert ByteRange.parse(header) is None


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-20", "bytes=5-2", "bytes=5-0"])
def test_a_range_beyond_the_end_or_backwards(header: str) -> None:
    wanted = ByteRange.parse(header)
    assert wanted
    with pytest.raises(RangeNotSatisfiable):
        wanted.within(10)


@pytest.mark.parametrize("header", ["", "bytes */10", "bytes 3-2/10", "bytes 0-10/10", "bytes 0-1/*", "items 0-1/2"])
def test_a_content_range_that_says_nothing(header: str) -> None:
    assert parse_content_range(header) is None
