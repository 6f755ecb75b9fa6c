"""Distribution as kuik configures it, on a folder and on S3: what its writer and its readers do, and do not."""

import base64
import http.client
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from kuik.keeper.distribution import USER
from registry.client import Client
from registry.credentials import Credentials
from registry.digest import Digest
from registry.errors import NotFound
from registry.fitness import Place, check
from registry.manifest import Descriptor, parse_manifest
from registry.reference import Reference
from registry.requirements import REQUIREMENTS, Need
from registry.transport import NO_RETRIES, Transport, host_settings
from tests.dataplane.rig.distribution import READERS_TOKEN, WRITERS_TOKEN, Distribution, public, pull_through
from tests.dataplane.rig.registry import STORAGES, Registry, registry
from tests.rig import skopeo
from tests.rig.images import image, index
from tests.rig.upstream import Upstream

BLOB = b"bytes of a layer" * 1000
NAME = "docker.io/library/app"


@pytest.fixture(scope="module", params=STORAGES)
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry(tmp_path_factory.mktemp("registry"), request.param) as found:
        yield found


def client(server: Distribution, token: str) -> Client:
    known = (Credentials(USER, token),)
    return Client(Transport(host_settings([server.host])), lambda _reference: known)


def named(server: Distribution, tag: str = "1") -> Reference:
    return Reference.parse(f"{server.host}/{NAME}:{tag}")


def status(server: Distribution, method: str, path: str, token: str = "", kind: str = "") -> int:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    headers = {"Content-Type": kind} if kind else {}
    if token:
        headers["Authorization"] = "Basic " + base64.b64encode(f"{USER}:{token}".encode()).decode()
    connection.request(method, path, b"{}" if kind else None, headers)
    found = connection.getresponse().status
    connection.close()
    return found


def test_it_meets_every_requirement(running: Registry) -> None:
    transport = Transport(host_settings([running.writer.host, running.readers[0].host]), retries=NO_RETRIES)
    places = [Place(running.writer.host, Credentials(USER, WRITERS_TOKEN))]
    places += [Place(reader.host, Credentials(USER, READERS_TOKEN)) for reader in running.readers]
    found = list(check(transport, places[0], places[1:]))
    assert [str(finding) for finding in found if finding.problem] == []
    assert {finding.need for finding in found} == REQUIREMENTS.keys()


def test_without_its_configuration_it_does_not(tmp_path: Path) -> None:
    with public(tmp_path) as plain:
        found = list(check(Transport(host_settings([plain.host]), retries=NO_RETRIES), Place(plain.host)))
    assert {finding.need for finding in found if finding.problem} == {Need.SPARSE, Need.GUARDED}


def test_an_image_whose_layers_are_only_to_be_had_elsewhere_is_taken(running: Registry) -> None:
    built = image("elsewhere")
    document = json.loads(built.raw)
    kind = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
    away = {"mediaType": kind, "digest": str(Digest.of(b"away")), "size": 4, "urls": ["https://vendor.example/layer"]}
    raw = json.dumps({**document, "layers": [*document["layers"], away]}).encode()
    writing = client(running.writer, WRITERS_TOKEN)
    for digest, blob in built.blobs.items():
        writing.push_blob(named(running.writer), Descriptor("", digest, len(blob)), [blob])
    writing.push_manifest(named(running.writer, "elsewhere"), parse_manifest(raw, built.media_type))
    assert client(running.readers[0], READERS_TOKEN).manifest(named(running.readers[0], "elsewhere")).raw == raw


def test_a_sparse_index_is_taken_byte_for_byte_and_readers_give_out_what_was_just_written(running: Registry) -> None:
    built = index([image("a", platform="linux/amd64"), image("a", platform="linux/arm64")])
    here, absent = (child.digest for child in parse_manifest(built.raw, built.media_type).manifests)
    media_type, raw = built.manifests[here]
    child = parse_manifest(raw, media_type, here)
    writing, reading = client(running.writer, WRITERS_TOKEN), client(running.readers[0], READERS_TOKEN)
    place, read = named(running.writer), named(running.readers[0])
    with pytest.raises(NotFound):  # which a cache of what is not there would remember
        reading.manifest(read)
    for blob in child.blobs:
        writing.push_blob(place, blob, [built.blobs[blob.digest]])
    writing.push_manifest(place.with_digest(here), child)
    writing.push_manifest(place, parse_manifest(built.raw, built.media_type))

    assert reading.manifest(read).raw == built.raw
    assert reading.manifest(read.with_digest(here)).raw == raw
    with pytest.raises(NotFound):
        reading.manifest(read.with_digest(absent))
    layer = child.layers[0]
    with reading.open_blob(read, layer.digest, start=10) as stream:
        assert b"".join(stream) == built.blobs[layer.digest][10:]


def test_a_tag_that_the_writer_deletes_is_gone_at_the_reader_and_its_sibling_is_not(running: Registry) -> None:
    built = image("deleted")
    writing, reading = client(running.writer, WRITERS_TOKEN), client(running.readers[0], READERS_TOKEN)
    manifest = parse_manifest(built.raw, built.media_type)
    for digest, blob in built.blobs.items():
        writing.push_blob(named(running.writer), Descriptor("", digest, len(blob)), [blob])
    for tag in ("first", "second"):
        writing.push_manifest(named(running.writer, tag), manifest)
    assert reading.manifest(named(running.readers[0], "first")).raw == built.raw
    writing.delete(named(running.writer, "first"))
    with pytest.raises(NotFound):
        reading.manifest(named(running.readers[0], "first"))
    assert reading.manifest(named(running.readers[0], "second")).raw == built.raw
    assert reading.manifest(named(running.readers[0]).with_digest(built.digest)).raw == built.raw


def test_who_does_not_know_the_token_gets_nothing_and_a_readers_token_opens_no_writer(running: Registry) -> None:
    (reader,) = running.readers
    for server, token in ((reader, ""), (reader, WRITERS_TOKEN), (running.writer, ""), (running.writer, READERS_TOKEN)):
        for path in ("/v2/", f"/v2/{NAME}/manifests/1", "/v2/_catalog"):
            assert status(server, "GET", path, token) == 401, (server, path)
    digest = Digest.of(BLOB)
    for method, path in (
        ("POST", f"/v2/{NAME}/blobs/uploads/"),
        ("PUT", f"/v2/{NAME}/manifests/1"),
        ("DELETE", f"/v2/{NAME}/manifests/1"),
        ("DELETE", f"/v2/{NAME}/blobs/{digest}"),
    ):
        assert status(reader, method, path, READERS_TOKEN, "application/json") == 405, (method, path)


def test_the_pull_through_mode_that_kuik_is_compared_with_pulls_through(upstream: Upstream, tmp_path: Path) -> None:
    built = image("peer")
    upstream.push(built, "team/app", "1")
    with pull_through(tmp_path / "peer", upstream.host) as peer:
        assert skopeo.pull(f"{peer.host}/team/app:1", tmp_path / "pulled") == str(built.digest)
