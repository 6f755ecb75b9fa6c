"""What is private opens by the right capability alone, checked with keys that may change at any time."""

from pathlib import Path

import pytest

from proxy.capabilities import KeyFiles, check, no_keys
from proxy.path import Kind, Route, parse
from registry.capability import capability
from registry.errors import NotFound
from registry.proxied import proxied
from registry.reference import Reference

OWN = Reference.parse("reg.example.com:5000/team/own:1")
CURRENT, PREVIOUS = b"c" * 32, b"p" * 32


def route_of(reference: Reference, key: bytes) -> Route:
    return parse(f"/v2/{proxied(reference, capability=capability(key, reference)).repository}/manifests/1")


def refusal(route: Route, *keys: bytes) -> str:
    with pytest.raises(NotFound) as refused:
        check(route, lambda: keys)
    return f"{refused.value.status} {refused.value.code} {refused.value}"


def write(folder: Path, **keys: bytes) -> None:
    """The files of a Secret's volume, changed as kubelet changes them: each is a new one."""
    folder.mkdir(exist_ok=True)
    for name, key in keys.items():
        fresh = folder / f".{name}"
        fresh.write_bytes(key)
        fresh.replace(folder / name)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("key", [CURRENT, PREVIOUS])
def test_the_current_key_and_the_one_before_open(key: bytes) -> None:
    check(route_of(OWN, key), lambda: (CURRENT, PREVIOUS))


def test_what_does_not_open_is_not_there_always_in_the_same_words() -> None:
    other = Reference.parse("reg.example.com:5000/team/other:1")
    stolen = capability(CURRENT, other)
    told = {
        refusal(route_of(OWN, b"another key"), CURRENT, PREVIOUS),
        refusal(route_of(OWN, CURRENT)),
        refusal(Route(OWN.host, OWN.repository, Kind.MANIFEST, "1", private=True), CURRENT),
        refusal(Route(OWN.host, OWN.repository, Kind.MANIFEST, "1", True, stolen), CURRENT),
        refusal(Route("reg.example.com", "no/such", Kind.BLOB, "sha256:" + "0" * 64, True, stolen), CURRENT),
    }
    assert told == {"404 MANIFEST_UNKNOWN there is no such image here"}


def test_what_is_public_needs_no_capability() -> None:
    check(Route("quay.io", "a", Kind.MANIFEST, "1"), no_keys)


def test_keys_are_read_again_once_they_change(tmp_path: Path) -> None:
    clock = Clock()
    keys = KeyFiles(tmp_path / "keys", clock)
    assert keys() == ()
    write(tmp_path / "keys", current=b"one\n", previous=b"")
    assert keys() == (), "it looks once a second at most"
    clock.now = 1
    assert keys() == (b"one",)
    write(tmp_path / "keys", current=b"two", previous=b"one")
    clock.now = 2
    assert keys() == (b"two", b"one")
    write(tmp_path / "keys", previous=b"")
    clock.now = 3
    assert keys() == (b"two",), "a key that is withdrawn opens nothing more"


def test_a_folder_that_vanishes_or_empties_changes_nothing(tmp_path: Path) -> None:
    clock = Clock()
    write(tmp_path / "keys", current=b"one")
    keys = KeyFiles(tmp_path / "keys", clock)
    assert keys() == (b"one",)
    write(tmp_path / "keys", current=b"")
    clock.now = 1
    assert keys() == (b"one",)
    (tmp_path / "keys" / "current").unlink()
    clock.now = 2
    assert keys() == (b"one",)
    write(tmp_path / "keys", current=b"two")
    clock.now = 3
    assert keys() == (b"two",)


def test_keys_do_not_show(tmp_path: Path) -> None:
    write(tmp_path / "keys", current=b"a-key-to-hide")
    keys = KeyFiles(tmp_path / "keys")
    keys()
    assert "a-key-to-hide" not in repr(keys)
