"""Images of uncommon forms, copied into a real registry: taken byte for byte, or refused with a clear word."""

import json
from collections.abc import Callable

import pytest

from registry.client import Client
from registry.contents import MAX_MANIFESTS, contents
from registry.copy import copy
from registry.digest import Digest
from registry.errors import Corrupt, Unsupported
from registry.manifest import (
    DOCKER_SCHEMA_1,
    MAX_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    Manifest,
    parse_manifest,
)
from registry.reference import Reference
from registry.targets import RegistryTarget
from registry.transport import HostSettings, Transport
from tests.registry.memory_source import MemorySource
from tests.rig.images import BuiltImage, image
from tests.rig.upstream import Upstream

NAME = "reg:5000/team/app:1"
LAYERS = {
    "zstd": "application/vnd.oci.image.layer.v1.tar+zstd",
    "unknown": "application/vnd.example.weights+raw; v=2",
}


@pytest.fixture
def client() -> Client:
    return Client(Transport(lambda _host: HostSettings(plain_http=True)))


def built(layer_type: str, **more: object) -> BuiltImage:
    """A manifest with an empty layer, one layer twice, and a config that is no image's."""
    blobs = {Digest.of(content): content for content in (b"{}", b"", b"layer")}

    def described(media_type: str, content: bytes) -> dict[str, object]:
        return {"mediaType": media_type, "digest": str(Digest.of(content)), "size": len(content)}

    layers = [described(layer_type, content) for content in (b"layer", b"", b"layer")]
    config = described("application/vnd.oci.empty.v1+json", b"{}")
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers, **more}
    raw = json.dumps(document).encode()
    digest = Digest.of(raw)
    return BuiltImage(raw, OCI_MANIFEST, digest, {digest: (OCI_MANIFEST, raw)}, blobs)


SUBJECT = {"mediaType": OCI_MANIFEST, "digest": str(image("nowhere").digest), "size": 7}


@pytest.mark.parametrize("layer_type", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("more", [{}, {"artifactType": "application/x", "subject": SUBJECT}], ids=["", "subject"])
def test_uncommon_forms_arrive_byte_for_byte(
    upstream: Upstream, client: Client, layer_type: str, more: dict[str, object]
) -> None:
    source, made = MemorySource(), built(layer_type, **more)
    reference = source.add(made, NAME)
    copied = copy(reference, source, RegistryTarget(client, upstream.host))
    place = Reference.parse(f"{upstream.host}/reg__5000/team/app:1")
    assert (copied.digest, copied.platforms) == (made.digest, ())
    assert client.manifest(place).raw == made.raw
    assert {digest: client.has_blob(place, digest) for digest in made.blobs} == {
        digest: len(content) for digest, content in made.blobs.items()
    }


def test_docker_schema_1_is_refused_by_its_name(upstream: Upstream, client: Client) -> None:
    source = MemorySource()
    reference = source.add(image("old"), NAME)
    raw = json.dumps({"schemaVersion": 1, "name": "team/app", "tag": "1", "fsLayers": [], "history": []}).encode()
    source.manifests[source.tags[NAME]] = (DOCKER_SCHEMA_1, raw)
    with pytest.raises(Unsupported, match="schema 1"):
        copy(reference, source, RegistryTarget(client, upstream.host))


def test_a_huge_manifest_is_refused_with_its_bound(upstream: Upstream, client: Client) -> None:
    source, made = MemorySource(), built(LAYERS["zstd"], annotations={"a": "x" * MAX_MANIFEST})
    reference = source.add(made, NAME)
    with pytest.raises((Corrupt, Unsupported), match=r"4194304|4 MiB|too large|bytes"):
        copy(reference, source, RegistryTarget(client, upstream.host))


def an_index_of(count: int) -> tuple[Manifest, Callable[[Descriptor], Manifest]]:
    """An index of so many small manifests, and what loads them."""
    manifests: dict[Digest, Manifest] = {}
    for number in range(count):
        document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [], "annotations": {"n": str(number)}}
        config = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": str(Digest.of(b"{}")), "size": 2}
        raw = json.dumps({**document, "config": config}).encode()
        manifests[Digest.of(raw)] = parse_manifest(raw, OCI_MANIFEST)
    entries = [
        {"mediaType": OCI_MANIFEST, "digest": str(digest), "size": len(one.raw)} for digest, one in manifests.items()
    ]
    raw = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()
    return parse_manifest(raw, OCI_INDEX), lambda descriptor: manifests[descriptor.digest]


def test_an_index_of_thousands_of_manifests_is_taken_whole() -> None:
    root, load = an_index_of(3000)
    assert len(contents(root, frozenset(), load).manifests) == 3001


def test_an_index_of_too_many_manifests_is_refused_with_its_bound() -> None:
    root, load = an_index_of(MAX_MANIFESTS + 1)
    with pytest.raises(Unsupported, match=f"more than {MAX_MANIFESTS} manifests"):
        contents(root, frozenset(), load)
