"""Copies into a registry that keeps to little: headers left out, sessions lost, ranges refused. All arrives, or nothing
is named."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from registry.client import Client
from registry.copy import copy
from registry.digest import Digest
from registry.errors import NotFound, RegistryError, Unreachable
from registry.reference import Reference
from registry.targets import RegistryTarget
from registry.transport import HostSettings, Retries, Transport
from tests.registry.memory_source import MemorySource
from tests.rig import faulty
from tests.rig.faulty import Exchange, Fault, Relay
from tests.rig.images import BuiltImage, image, multi_platform
from tests.rig.upstream import Upstream

NAME = "reg:5000/team/app:1"
BUILT = multi_platform("rude", layer_size=100_000)


@pytest.fixture
def client() -> Client:
    retries = Retries(sleep=lambda _: None)
    return Client(Transport(lambda _host: HostSettings(plain_http=True), retries=retries))


@pytest.fixture
def relay(upstream: Upstream) -> Iterator[Relay]:
    with Relay(upstream.host) as relay:
        yield relay


def bring(built: BuiltImage, relay: Relay, client: Client) -> Digest:
    source = MemorySource()
    return copy(source.add(built, NAME), source, RegistryTarget(client, relay.host)).digest


def place(upstream: Upstream) -> Reference:
    return Reference.parse(f"{upstream.host}/reg__5000/team/app:1")


def assert_whole(built: BuiltImage, upstream: Upstream, client: Client) -> None:
    name = place(upstream)
    assert client.manifest(name).digest == built.digest
    for digest, (_, raw) in built.manifests.items():
        assert client.manifest(name.with_digest(digest)).raw == raw
    for digest, content in built.blobs.items():
        with client.open_blob(name, digest) as stream:
            assert b"".join(stream) == content


def relative(exchange: Exchange) -> None:
    """Answer with a Location that has neither scheme nor host, nor the path up to the last folder."""
    reply = exchange.fetch()
    if "Location" in reply.headers and exchange.method == "POST" and reply.status == 202:
        last, _, query = reply.headers["Location"].rpartition("/")[2].partition("?")
        reply.headers["Location"] = f"{last}?{query}"
    exchange.send(reply)


LESS: dict[str, tuple[Fault, str, str]] = {
    "no digest of manifests": (faulty.change_headers(docker_content_digest=None), "", "/manifests/"),
    "no digest of blobs": (faulty.change_headers(docker_content_digest=None), "", "/blobs/"),
    "relative locations": (relative, "POST", "/blobs/uploads/"),
    "no HEAD": (faulty.error(405, "UNSUPPORTED"), "HEAD", ""),
    "no HEAD, in other words": (faulty.answer(501), "HEAD", ""),
    "no location after an upload": (faulty.change_headers(location=None), "PUT", ""),
    "no mounts": (faulty.error(405, "UNSUPPORTED"), "POST", "mount="),
    "mounts are an error": (faulty.error(500, "UNKNOWN"), "POST", "mount="),
    "mounts are forbidden": (faulty.error(403, "DENIED"), "POST", "mount="),
    "mounts without a location": (faulty.answer(202), "POST", "mount="),
    "mounts that are none": (faulty.answer(201), "POST", "mount="),
    "sizes of blobs are 0": (faulty.answer(200, headers={"Content-Length": "0"}), "HEAD", "/blobs/"),
}


@pytest.mark.parametrize("less", LESS.values(), ids=LESS)
def test_a_registry_that_leaves_things_out(
    upstream: Upstream, relay: Relay, client: Client, less: tuple[Fault, str, str]
) -> None:
    fault, method, path = less
    relay.rule(fault, method=method, path=path, times=None)
    for _ in range(2):
        assert bring(BUILT, relay, client) == BUILT.digest
        assert_whole(BUILT, upstream, client)


def test_a_registry_that_tells_no_sizes(upstream: Upstream, relay: Relay, client: Client) -> None:
    def unsized(exchange: Exchange) -> None:
        reply = exchange.fetch()
        exchange.begin(
            reply.status, {"Transfer-Encoding": "chunked"} if reply.status == 200 else {"Content-Length": "0"}
        )

    relay.rule(unsized, method="HEAD", path="/blobs/", times=None)
    relay.rule(faulty.chunked(), method="GET", path="/blobs/", times=None)
    assert bring(BUILT, relay, client) == BUILT.digest
    assert_whole(BUILT, upstream, client)


ONCE: dict[str, tuple[Fault, str, str]] = {
    "a session that is gone": (faulty.error(404, "BLOB_UPLOAD_UNKNOWN"), "PUT", "/blobs/uploads/"),
    "an upload that is not taken": (faulty.error(503, "UNAVAILABLE"), "PUT", "/blobs/uploads/"),
    "no session": (faulty.error(503, "UNAVAILABLE"), "POST", "/blobs/uploads/"),
    "no name": (faulty.error(503, "UNAVAILABLE"), "PUT", "/manifests/1"),
}


@pytest.mark.parametrize("once", ONCE.values(), ids=ONCE)
def test_what_goes_wrong_once_is_healed_by_the_next_attempt_at_last(
    upstream: Upstream, relay: Relay, client: Client, once: tuple[Fault, str, str]
) -> None:
    fault, method, path = once
    relay.rule(fault, method=method, path=path)
    with suppress(Unreachable):
        bring(BUILT, relay, client)
    bring(BUILT, relay, client)
    assert_whole(BUILT, upstream, client)


def test_a_session_that_is_gone_is_opened_anew(upstream: Upstream, relay: Relay, client: Client) -> None:
    """As after a registry's restart, or behind a balancer whose registries share no sessions."""
    relay.rule(faulty.error(404, "BLOB_UPLOAD_UNKNOWN"), method="PUT", path="/blobs/uploads/", times=3)
    assert bring(BUILT, relay, client) == BUILT.digest
    assert_whole(BUILT, upstream, client)


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_registry_that_knows_nothing_is_not_an_image_that_is_not_found(
    relay: Relay, client: Client, method: str
) -> None:
    relay.rule(faulty.error(404, "NAME_UNKNOWN"), method=method, times=None)
    with pytest.raises(RegistryError, match=relay.host) as raised:
        bring(BUILT, relay, client)
    assert not isinstance(raised.value, NotFound)


def test_a_tag_moves_on_from_a_manifest_that_was_damaged(upstream: Upstream, relay: Relay, client: Client) -> None:
    before = image("before")
    bring(before, relay, client)
    hexed = before.digest.hex
    stored = Path(upstream.folder / f"data/docker/registry/v2/blobs/sha256/{hexed[:2]}/{hexed}/data")
    stored.write_bytes(stored.read_bytes().replace(b"linux", b"lunix").replace(b'"schemaVersion"', b'"schemaversion"'))
    assert bring(BUILT, relay, client) == BUILT.digest
    assert_whole(BUILT, upstream, client)
