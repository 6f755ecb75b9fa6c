"""A registry whose blobs are elsewhere, as on S3: the redirect is followed here, without credentials, and resumed."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from registry.digest import Digest
from tests.rig import faulty
from tests.rig.components import TOKEN, Component, proxy
from tests.rig.faulty import Exchange, Relay

CONTENT = b"".join(hashlib.sha256(bytes([number])).digest() for number in range(250)) * 250
PATH = f"/v2/quay.io/a/blobs/{Digest.of(CONTENT)}"
SIGNED = "/bucket/blob?X-Amz-Signature=secret"


def ranged(exchange: Exchange) -> None:
    """CONTENT, or the rest of it that is asked for."""
    wanted = exchange.headers.get("Range", "")
    first = int(wanted.removeprefix("bytes=").partition("-")[0] or 0)
    headers = {"Content-Range": f"bytes {first}-{len(CONTENT) - 1}/{len(CONTENT)}"} if wanted else {}
    exchange.send(faulty.Answer(206 if wanted else 200, headers, CONTENT[first:]))


def breaks(exchange: Exchange) -> None:
    exchange.begin(200, {"Content-Length": str(len(CONTENT))})
    exchange.write(CONTENT[:700_000])
    exchange.hang_up()


@dataclass
class World:
    """Two replicas of kuik's shield, which get the shared token, before one storage."""

    storage: Relay
    replicas: tuple[Relay, Relay]
    proxy: Component


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with Relay() as storage, Relay() as one, Relay() as other:
        for replica in (one, other):
            replica.rule(faulty.redirect(f"{storage.url}{SIGNED}"), path=PATH, times=None)
        component = proxy(tmp_path, "--shield", one.url, "--shield", other.url).start()
        yield World(storage, (one, other), component)
        component.stop()


def test_a_redirect_is_followed_without_credentials_and_not_shown_to_the_client(world: World) -> None:
    world.storage.rule(ranged, times=None)
    for _ in range(2):
        reply = world.proxy.get(PATH, {"Range": "bytes=1000-"})
        assert (reply.status, reply.body) == (206, CONTENT[1000:])
        assert "Location" not in reply.headers
    asked = [seen for replica in world.replicas for seen in replica.requests]
    assert {seen.headers["Authorization"] for seen in asked} == {f"Bearer {TOKEN}"}
    assert [seen.headers["Range"] for seen in world.storage.requests] == ["bytes=1000-"] * 2
    assert not [seen for seen in world.storage.requests if "Authorization" in seen.headers]
    assert "X-Amz" not in world.proxy.log.read_text()


def test_what_breaks_behind_a_redirect_goes_on_by_another(world: World) -> None:
    world.storage.rule(breaks).rule(ranged, times=None)
    assert world.proxy.get(PATH).body == CONTENT
    first, second = world.storage.requests
    assert "Range" not in first.headers
    assert second.headers["Range"] == f"bytes=700000-{len(CONTENT) - 1}"
    assert [replica.count("GET", PATH) for replica in world.replicas] == [1, 1]
    assert "X-Amz" not in world.proxy.log.read_text()
