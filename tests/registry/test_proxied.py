"""The two names of an image map to each other one to one."""

import pytest
from hypothesis import given

from registry.proxied import DEFAULT_PROXY, host_to_segment, original, proxied, segment_to_host
from registry.reference import InvalidReference, Reference
from tests.registry.strategies import hosts, references

SHA = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("nginx", "localhost:7439/docker.io/library/nginx:latest"),
        ("reg:5000/x", "localhost:7439/reg__5000/x:latest"),
        (f"reg.example:443/a/b__c:1@{SHA}", f"localhost:7439/reg.example__443/a/b__c:1@{SHA}"),
        ("a--b.io/x-__-y".replace("-__-", "--"), "localhost:7439/a--b.io/x--y:latest"),
    ],
)
def test_names_at_the_proxy(image: str, name: str) -> None:
    reference = Reference.parse(image)
    assert str(proxied(reference)) == name
    assert original(Reference.parse(name)) == reference


@given(references())
def test_the_rewritten_name_maps_back(reference: Reference) -> None:
    name = str(proxied(reference))
    assert name.startswith(f"{DEFAULT_PROXY}/")
    assert original(Reference.parse(name)) == reference


@given(references(), references())
def test_different_images_have_different_names(one: Reference, other: Reference) -> None:
    assert (proxied(one) == proxied(other)) == (one == other)


@given(hosts())
def test_hosts_and_segments_are_inverse(host: str) -> None:
    segment = host_to_segment(host)
    assert ":" not in segment
    assert segment_to_host(segment) == host


def test_names_written_by_hand_are_made_canonical() -> None:
    by_hand = Reference.parse("localhost:7439/index.docker.io/nginx:1")
    assert original(by_hand) == Reference.parse("nginx:1")


@pytest.mark.parametrize("host", ["[::1]:5000", "[2001:db8::1]"])
def test_ipv6_literals_have_no_name_there(host: str) -> None:
    with pytest.raises(InvalidReference, match="IPv6"):
        proxied(Reference.parse(f"{host}/x"))


def test_a_name_that_grows_too_long() -> None:
    fits = Reference.parse("r.io/" + "a" * 250)
    assert original(proxied(fits)) == fits
    with pytest.raises(InvalidReference, match="longer than 255"):
        proxied(Reference.parse("r.io/" + "a" * 251))


@pytest.mark.parametrize("path", ["nginx", "library/nginx", "a__b/x", "a.io__1__2/x", "a.io__/x", "a.io__123456/x"])
def test_paths_that_name_no_registry(path: str) -> None:
    with pytest.raises(InvalidReference, match="registry host"):
        original(Reference("localhost:7439", path, "1"))
