"""Capabilities: one repository, one key, and no other way in."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.capability import capability, is_capability, opens
from registry.proxied import original, proxied, split_private
from registry.reference import InvalidReference, Reference
from tests.registry.strategies import references

KEY, OTHER = b"k" * 32, b"o" * 32
keys = st.binary(min_size=1, max_size=64)


def test_it_is_the_hash_that_the_proxies_compute() -> None:
    expected = hmac.new(KEY, b"reg.example.com/team/app", hashlib.sha256).hexdigest()[:32]
    assert capability(KEY, Reference.parse("reg.example.com/team/app:1")) == expected


@given(references(), keys)
def test_it_opens_its_repository_with_every_tag(reference: Reference, key: bytes) -> None:
    given_out = capability(key, reference)
    assert is_capability(given_out)
    assert opens(given_out, Reference(reference.host, reference.repository, "another"), [OTHER, key])


@given(references(), references(), keys, keys)
def test_it_opens_nothing_else(one: Reference, other: Reference, key: bytes, wrong: bytes) -> None:
    given_out = capability(key, one)
    assert opens(given_out, other, [key]) == (one.name == other.name)
    assert opens(given_out, one, [wrong]) == (capability(wrong, one) == given_out)
    assert not opens(given_out, one, [])


@pytest.mark.parametrize("given_out", ["", "x" * 32, "A" * 32, "a" * 31, "a" * 33, "ä" * 32, "a" * 32 + "\n"])
def test_what_is_none_opens_nothing(given_out: str) -> None:
    assert not opens(given_out, Reference.parse("reg.example.com/a"), [KEY, b""])


def test_an_empty_key_makes_none() -> None:
    with pytest.raises(ValueError, match="empty"):
        capability(b"", Reference.parse("nginx"))


@given(references(), keys)
def test_the_private_name_maps_back(reference: Reference, key: bytes) -> None:
    given_out = capability(key, reference)
    try:
        name = str(proxied(reference, capability=given_out))
    except InvalidReference as error:
        assert "longer than 255" in str(error)  # noqa: PT017 - either it is too long, or it maps back
        return
    assert name.startswith(f"localhost:7439/private/{given_out}/")
    assert original(Reference.parse(name)) == reference
    assert split_private(Reference.parse(name).repository)[0] == given_out
    assert name != str(proxied(reference))


@given(references())
def test_a_public_name_has_no_capability(reference: Reference) -> None:
    path = proxied(reference).repository
    assert split_private(path) == ("", path)


@pytest.mark.parametrize("path", ["private/x", "private/docker.io/library/nginx", f"private/{'g' * 32}/docker.io/a"])
def test_below_private_nothing_is_without_a_capability(path: str) -> None:
    with pytest.raises(InvalidReference, match="capability"):
        original(Reference("localhost:7439", path, "1"))
    with pytest.raises(InvalidReference, match="capability"):
        proxied(Reference.parse("nginx"), capability="docker.io")
