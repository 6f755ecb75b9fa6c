"""Verification while streaming: the end is held back until everything before it is proven."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.digest import Digest
from registry.errors import Corrupt, Unreachable
from registry.verify import verified

PIECES = st.lists(st.binary(max_size=50), max_size=10)


def cut(content: bytes, sizes: list[int]) -> list[bytes]:
    pieces = []
    for size in sizes:
        pieces.append(content[:size])
        content = content[size:]
    return [*pieces, content]


@given(PIECES, st.sampled_from(["sha256", "sha384", "sha512"]), st.booleans())
def test_what_is_right_passes_unchanged(pieces: list[bytes], algorithm: str, sized: bool) -> None:
    content = b"".join(pieces)
    size = len(content) if sized else None
    assert b"".join(verified(pieces, Digest.of(content, algorithm), size)) == content


@given(st.binary(min_size=1, max_size=200), st.lists(st.integers(0, 60), max_size=6), st.data())
def test_what_is_wrong_never_passes_whole(content: bytes, sizes: list[int], data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(content) - 1))
    damaged = content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]
    passed: list[bytes] = []
    with pytest.raises(Corrupt):
        passed.extend(verified(cut(damaged, sizes), Digest.of(content), len(content)))
    assert len(b"".join(passed)) < len(content), "a reader that counts must see that the end is missing"


@pytest.mark.parametrize("content", [b"", b"abc", b"abcdefgh"])
def test_a_size_that_is_not_met(content: bytes) -> None:
    with pytest.raises(Corrupt, match="bytes"):
        list(verified([content], Digest.of(content), 5))


def test_too_many_bytes_are_refused_before_the_source_ends() -> None:
    taken = []

    def endless() -> Iterator[bytes]:
        while True:
            taken.append(1)
            yield b"x" * 10

    with pytest.raises(Corrupt, match="more than the 25 bytes"):
        list(verified(endless(), Digest.of(b""), 25))
    assert len(taken) == 3


def test_an_empty_blob_of_another_digest() -> None:
    with pytest.raises(Corrupt):
        list(verified([], Digest.of(b"something")))


def test_a_break_passes_through() -> None:
    def broken() -> Iterator[bytes]:
        yield b"abc"
        raise Unreachable("gone")

    with pytest.raises(Unreachable, match="gone"):
        list(verified(broken(), Digest.of(b"abc")))
