"""Layers that several images share, on a real registry: sent once, and never given away by a private image."""

import json
import random
from collections.abc import Sequence

import pytest

from registry.client import Client
from registry.commons import REPOSITORY, WORTH
from registry.copy import copy
from registry.digest import Digest
from registry.errors import NotFound, ServerFailure
from registry.manifest import OCI_MANIFEST
from registry.reference import Reference
from registry.targets import RegistryTarget
from registry.transport import HostSettings, Transport
from tests.registry.memory_source import MemorySource
from tests.rig.images import BuiltImage
from tests.rig.upstream import Upstream

_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def layer(seed: str, size: int = 2 * WORTH) -> bytes:
    return random.Random(seed).randbytes(size)  # noqa: S311 - reproducible bytes


BASE = (layer("base 0"), layer("base 1"))


def image(seed: str, layers: Sequence[bytes]) -> BuiltImage:
    """An image of these layers and a config of its own."""

    def described(kind: str, blob: bytes) -> dict[str, object]:
        return {"mediaType": kind, "digest": str(Digest.of(blob)), "size": len(blob)}

    config = json.dumps({"os": "linux", "architecture": "amd64", "seed": seed}).encode()
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": described("application/vnd.oci.image.config.v1+json", config),
        "layers": [described(_LAYER, one) for one in layers],
    }
    raw = json.dumps(document).encode()
    blobs = {Digest.of(blob): blob for blob in (config, *layers)}
    return BuiltImage(raw, OCI_MANIFEST, Digest.of(raw), {Digest.of(raw): (OCI_MANIFEST, raw)}, blobs)


@pytest.fixture
def client() -> Client:
    return Client(Transport(lambda _host: HostSettings(plain_http=True)))


def bring(built: BuiltImage, name: str, upstream: Upstream, client: Client, *, private: bool = False) -> MemorySource:
    source = MemorySource()
    copy(source.add(built, name), source, RegistryTarget(client, upstream.host, private=private))
    return source


def sent(upstream: Upstream) -> list[str]:
    """The digests of the blobs whose bytes were sent."""
    return [
        path.rpartition("digest=")[2].replace("%3A", ":")
        for method, path, status in upstream.requests()
        if method == "PUT" and "/blobs/uploads/" in path and status == 201
    ]


def fetched(source: MemorySource) -> list[Digest]:
    return sorted(digest for digest, _ in source.blob_requests)


def own(built: BuiltImage, shared: Sequence[bytes] = BASE) -> list[Digest]:
    """What the image has besides the shared layers."""
    return sorted(set(built.blobs) - {Digest.of(one) for one in shared})


def test_shared_layers_are_neither_fetched_nor_sent_again(upstream: Upstream, client: Client) -> None:
    first, second = image("first", (*BASE, layer("first"))), image("second", (*BASE, layer("second")))
    assert fetched(bring(first, "reg:5000/team/first:1", upstream, client)) == sorted(first.blobs)
    upstream.forget_requests()
    source = bring(second, "other:5000/else/where/second:1", upstream, client)
    assert fetched(source) == own(second)
    assert sorted(sent(upstream)) == sorted(map(str, own(second)))
    place = Reference.parse(f"{upstream.host}/other__5000/else/where/second:1")
    for digest, blob in second.blobs.items():
        with client.open_blob(place, digest) as stream:
            assert b"".join(stream) == blob


def test_nothing_is_left_open_where_there_is_nothing_to_mount(upstream: Upstream, client: Client) -> None:
    bring(image("only", BASE), "reg/team/only:1", upstream, client)
    uploads = [path for method, path, _ in upstream.requests() if method == "POST"]
    assert len(uploads) == 5, "each blob is sent in the session that the mount in vain opened, and layers are linked"
    assert not list(upstream.folder.glob("data/**/_uploads/*")), "no session was left"


def test_a_private_image_takes_shared_layers_and_gives_none(upstream: Upstream, client: Client) -> None:
    secret = layer("secret")
    bring(image("base", BASE), "docker.io/library/base:1", upstream, client)
    private = image("private", (*BASE, secret))
    assert fetched(bring(private, "reg/team/private:1", upstream, client, private=True)) == own(private)
    hostile = image("hostile", (*BASE, secret))
    for name in ("reg/other/hostile:1", "reg/team/hostile:1"):
        for to_private in (True, False):
            source = MemorySource()
            reference = source.add(hostile, name)
            del source.blobs[Digest.of(secret)]  # a manifest may name what its registry does not have
            with pytest.raises(NotFound):
                copy(reference, source, RegistryTarget(client, upstream.host, private=to_private))


class Forgetful(Client):
    """The client of a registry that answers mounts as told."""

    error: Exception = NotFound("no such project")

    def mount_or_begin(self, reference: Reference, digest: Digest, source: str) -> None:
        raise self.error


@pytest.mark.parametrize("error", [NotFound("no such project"), ServerFailure("500")], ids=["refuses", "fails"])
def test_a_registry_without_mounts_gets_every_layer(upstream: Upstream, error: Exception) -> None:
    client = Forgetful(Transport(lambda _host: HostSettings(plain_http=True)))
    client.error = error
    for name in ("first", "second"):
        built = image(name, BASE)
        assert fetched(bring(built, f"reg/team/{name}:1", upstream, client)) == sorted(built.blobs)


def test_a_link_to_what_was_collected_is_no_layer(upstream: Upstream, client: Client) -> None:
    bring(image("first", BASE), "reg/team/first:1", upstream, client)
    for one in BASE:
        hexed = Digest.of(one).hex
        (upstream.folder / f"data/docker/registry/v2/blobs/sha256/{hexed[:2]}/{hexed}/data").unlink()
    upstream.stop()
    upstream.start()
    second = image("second", BASE)
    assert fetched(bring(second, "reg/team/second:1", upstream, client)) == sorted(second.blobs)


def test_a_mounted_layer_whose_size_is_wrong_is_sent(upstream: Upstream, client: Client) -> None:
    bring(image("first", BASE), "reg/team/first:1", upstream, client)
    hexed = Digest.of(BASE[0]).hex
    (upstream.folder / f"data/docker/registry/v2/blobs/sha256/{hexed[:2]}/{hexed}/data").write_bytes(b"short")
    source = bring(image("second", BASE), "reg/team/second:1", upstream, client)
    assert Digest.of(BASE[0]) in fetched(source)


def test_the_shared_layers_are_no_image(upstream: Upstream, client: Client) -> None:
    bring(image("first", BASE), "reg/team/first:1", upstream, client)
    with pytest.raises(NotFound):
        client.tags(Reference(upstream.host, REPOSITORY))
