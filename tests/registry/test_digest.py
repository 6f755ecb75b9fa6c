"""Digests: only those that can be verified."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.digest import HEX_LENGTH, Digest, InvalidDigest
from tests.registry.strategies import digests


@given(digests())
def test_parse_and_format_are_inverse(digest: Digest) -> None:
    assert Digest.parse(str(digest)) == digest


@given(st.binary(), st.sampled_from(sorted(HEX_LENGTH)), st.integers(0, 50))
def test_content_is_recognised_however_it_is_fed(content: bytes, algorithm: str, cut: int) -> None:
    digest = Digest.of(content, algorithm)
    assert digest.hex == hashlib.new(algorithm, content).hexdigest()
    hasher = digest.hasher()
    hasher.update(content[:cut])
    hasher.update(memoryview(content)[cut:])
    assert digest.matches(hasher)
    hasher.update(b"more")
    assert not digest.matches(hasher)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no algorithm"),
        ("ab" * 32, "has no algorithm"),
        ("sha256:", "64 lower-case hex digits"),
        ("sha256:" + "a" * 63, "64 lower-case hex digits"),
        ("sha256:" + "g" * 64, "64 lower-case hex digits"),
        ("sha256:" + "A" * 64, "64 lower-case hex digits"),
        ("sha256:" + "a" * 64 + "\n", "64 lower-case hex digits"),
        ("sha256:" + "\u0661" * 64, "64 lower-case hex digits"),
        ("sha512:" + "a" * 64, "128 lower-case hex digits"),
        ("SHA256:" + "a" * 64, "not one of"),
        ("md5:" + "a" * 32, "not one of"),
        ("../../x:" + "a" * 64, "not one of"),
    ],
)
def test_what_is_no_digest(text: str, said: str) -> None:
    with pytest.raises(InvalidDigest) as error:
        Digest.parse(text)
    assert said in str(error.value)
