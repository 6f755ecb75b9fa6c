"""The client against a real registry, and against one that misbehaves."""

import pytest

from registry.client import Client
from registry.credentials import Credentials
from registry.digest import Digest
from registry.errors import Corrupt, NotFound, RateLimited, RegistryError, Unauthorized, Unreachable, Unsupported
from registry.manifest import Descriptor
from registry.reference import Reference
from registry.verify import verified
from tests.rig import faulty
from tests.rig.faulty import Relay
from tests.rig.images import BuiltImage, image, multi_platform
from tests.rig.reader import client, whole
from tests.rig.upstream import Upstream

ALICE = Credentials("alice", "s3cret-enough")
MALLORY = Credentials("mallory", "guess")


def at(relay: Relay, repository: str = "team/app", tag: str = "1") -> Reference:
    return Reference.parse(f"{relay.host}/{repository}:{tag}")


@pytest.mark.parametrize("docker", [False, True])
def test_an_image_is_read_by_tag_and_by_digest_with_all_its_blobs(upstream: Upstream, docker: bool) -> None:
    built = multi_platform("read", docker=docker)
    reference = Reference.parse(upstream.push(built, "team/app", "1"))
    reader = client()
    assert reader.head(reference) == reader.manifest(reference).descriptor
    index = reader.manifest(reference)
    assert (index.raw, index.digest, index.media_type) == (built.raw, built.digest, built.media_type)
    seen = {}
    for child in index.manifests:
        manifest = reader.manifest(reference.with_digest(child.digest))
        for blob in manifest.blobs:
            with reader.open_blob(reference, blob.digest) as stream:
                seen[blob.digest] = whole(verified(stream, blob.digest, blob.size))
            assert reader.has_blob(reference, blob.digest) == blob.size
    assert seen == built.blobs


def test_what_is_not_there_is_not_found(upstream: Upstream) -> None:
    reference = Reference.parse(upstream.push(image("one"), "team/app", "1"))
    nothing = Digest.of(b"nothing")
    reader = client()
    with pytest.raises(NotFound, match=r"team/app:2.*404.*MANIFEST_UNKNOWN"):
        reader.manifest(Reference.parse(f"{upstream.host}/team/app:2"))
    with pytest.raises(NotFound):
        reader.head(Reference.parse(f"{upstream.host}/no/such"))
    with pytest.raises(NotFound):
        reader.open_blob(reference, nothing)
    assert reader.has_blob(reference, nothing) is None


@pytest.mark.parametrize("start", [0, 1, 4000, -1, None])
def test_a_blob_is_read_from_anywhere(upstream: Upstream, start: int | None) -> None:
    built = image("range", layers=1)
    reference = Reference.parse(upstream.push(built, "team/app", "1"))
    digest, content = max(built.blobs.items(), key=lambda item: len(item[1]))
    begin = len(content) if start is None else start % len(content)
    with client().open_blob(reference, digest, begin) as stream:
        assert stream.size == len(content)
        assert whole(stream) == content[begin:]


def test_an_image_written_is_the_image_read(upstream: Upstream) -> None:
    built = image("written")
    reference = Reference.parse(f"{upstream.host}/new/app:1")
    writer = client()
    for digest, content in built.blobs.items():
        descriptor = Descriptor("application/octet-stream", digest, len(content))
        writer.push_blob(reference, descriptor, iter([content[:7], content[7:]]))
        assert writer.mount_blob(Reference.parse(f"{upstream.host}/other/app"), digest, "new/app")
    raw = client().manifest(Reference.parse(upstream.push(built, "elsewhere/app", "1")))
    writer.push_manifest(reference, raw)
    assert writer.manifest(reference) == raw
    assert writer.tags(reference) == ("1",)
    writer.delete(reference.with_digest(raw.digest))
    with pytest.raises(NotFound):
        writer.manifest(reference)


def test_a_mount_that_is_not_possible_leaves_no_upload_behind(upstream: Upstream) -> None:
    assert not client().mount_blob(Reference.parse(f"{upstream.host}/b/c"), Digest.of(b"nowhere"), "a/b")
    methods = [(method, status) for method, _, status in upstream.requests()]
    assert methods == [("POST", 202), ("DELETE", 204)]


@pytest.mark.parametrize("pieces", [[b"too ", b"short"], [b"far too ", b"long for it"]])
def test_an_upload_of_another_size_is_refused(upstream: Upstream, pieces: list[bytes]) -> None:
    reference = Reference.parse(f"{upstream.host}/new/app:1")
    content = b"exactly this"
    descriptor = Descriptor("application/octet-stream", Digest.of(content), len(content))
    with pytest.raises(Corrupt, match=r"bytes"):
        client().push_blob(reference, descriptor, pieces)
    assert client().has_blob(reference, descriptor.digest) is None


def test_an_empty_blob_goes_both_ways(upstream: Upstream) -> None:
    reference = Reference.parse(f"{upstream.host}/new/app:1")
    empty = Descriptor("application/octet-stream", Digest.of(b""), 0)
    client().push_blob(reference, empty, [])
    with client().open_blob(reference, empty.digest) as stream:
        assert whole(verified(stream, empty.digest, 0)) == b""


def test_a_private_image_opens_with_the_credentials_that_fit(private_upstream: Upstream) -> None:
    built = image("private")
    reference = Reference.parse(private_upstream.push(built, "team/app", "1"))
    with pytest.raises(Unauthorized, match="imagePullSecrets"):
        client().manifest(reference)
    with pytest.raises(Unauthorized) as refused:
        client(lambda _: [MALLORY]).manifest(reference)
    assert "guess" not in str(refused.value)
    reader = client(lambda _: [MALLORY, ALICE])
    assert reader.manifest(reference).digest == built.digest
    private_upstream.forget_requests()
    assert reader.head(reference).digest == built.digest
    assert [status for *_, status in private_upstream.requests()] == [200], "the credentials that worked come first"


def test_credentials_that_the_keyring_no_longer_offers_are_not_used(private_upstream: Upstream) -> None:
    reference = Reference.parse(private_upstream.push(image("private"), "team/app", "1"))
    ring = [ALICE]
    reader = client(lambda _: ring)
    reader.manifest(reference)
    ring.clear()
    with pytest.raises(Unauthorized):
        reader.manifest(reference)


def test_every_page_of_tags_is_read(upstream: Upstream) -> None:
    with Relay(upstream.host) as relay:
        first = faulty.answer(200, b'{"tags": ["1", "2"]}', {"Link": '</v2/team/app/tags/list?n=2&last=2>; rel="next"'})
        relay.rule(first, path="tags/list?n=1000")
        relay.rule(faulty.answer(200, b'{"tags": ["3", "not a tag"]}'), path="last=2")
        relay.rule(faulty.answer(200, b'{"tags": null}'), path="empty")
        assert client().tags(at(relay)) == ("1", "2", "3")
        assert client().tags(at(relay, "empty")) == ()


def test_a_registry_that_names_tags_without_end_is_not_listened_to_without_end(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.client._MAX_TAGS", 5)
    with Relay(upstream.host) as relay:
        link = {"Link": '</v2/team/app/tags/list?n=2&last=2>; rel="next"'}
        relay.rule(faulty.answer(200, b'{"tags": ["1", "2"]}', link), times=None)
        assert client().tags(at(relay)) == ("1", "2", "1", "2", "1")
        assert len(relay.requests) == 3


@pytest.mark.parametrize("status", [200, 404])
@pytest.mark.parametrize("what", ["manifests/1", "tags/list?n=1000"])
def test_what_trickles_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch, status: int, what: str) -> None:
    monkeypatch.setattr("registry.client.SLOWEST", 0.2)
    monkeypatch.setattr("registry.response.BEGINNING_SECONDS", 0.2)
    sent: list[int] = []

    def trickle(exchange: faulty.Exchange) -> None:
        exchange.begin(status, {"Content-Length": "200"})
        for number in range(200):
            exchange.write(b" ")
            exchange.pause(0.05)
            sent.append(number)

    with Relay() as relay:
        relay.rule(trickle, path=what, times=None)
        ask = client().manifest if "manifests" in what else client().tags
        with pytest.raises(Unreachable if status == 200 else NotFound):
            ask(at(relay))
        assert len(sent) < 100


def test_a_private_registry_is_written_to_with_the_credentials_that_fit(private_upstream: Upstream) -> None:
    reference = Reference.parse(f"{private_upstream.host}/new/app:1")
    content = b"some content"
    descriptor = Descriptor("application/octet-stream", Digest.of(content), len(content))
    writer = client(lambda _: [MALLORY, ALICE])
    writer.push_blob(reference, descriptor, iter([content]))
    assert writer.has_blob(reference, descriptor.digest) == len(content)
    with pytest.raises(Unauthorized):
        client().push_blob(reference, descriptor, iter([content]))


def test_an_upload_is_not_sent_to_another_host_without_tls(upstream: Upstream) -> None:
    with Relay() as registry, Relay() as other:
        registry.rule(faulty.answer(202, headers={"Location": f"{other.url}/upload?state=secret"}))
        with pytest.raises(RegistryError, match="another host without TLS") as refused:
            client().push_blob(at(registry), Descriptor("x", Digest.of(b"x"), 1), [b"x"])
        assert "secret" not in str(refused.value)
        assert other.requests == []


class TestManifests:
    """What registries answer in place of what they should."""

    @pytest.fixture
    def built(self) -> BuiltImage:
        return image("manifest")

    @pytest.fixture
    def relay(self, upstream: Upstream, built: BuiltImage):  # type: ignore[no-untyped-def]
        upstream.push(built, "team/app", "1")
        with Relay(upstream.host) as relay:
            yield relay

    @pytest.mark.parametrize("status", [405, 501, 400])
    def test_without_head_the_manifest_tells(self, relay: Relay, built: BuiltImage, status: int) -> None:
        relay.rule(faulty.answer(status), method="HEAD")
        assert client().head(at(relay)).digest == built.digest

    @pytest.mark.parametrize("left_out", ["docker_content_digest", "content_type", "content_length"])
    def test_a_head_that_leaves_something_out(self, relay: Relay, built: BuiltImage, left_out: str) -> None:
        relay.rule(faulty.change_headers(**{left_out: None}), method="HEAD")
        assert client().head(at(relay)) == Descriptor(built.media_type, built.digest, len(built.raw))

    def test_a_media_type_with_parameters(self, relay: Relay, built: BuiltImage) -> None:
        relay.rule(faulty.change_headers(content_type=f"{built.media_type}; charset=utf-8"), times=None)
        assert client().head(at(relay)).media_type == built.media_type
        assert client().manifest(at(relay)).media_type == built.media_type

    def test_a_manifest_in_chunks_and_without_digest(self, relay: Relay, built: BuiltImage) -> None:
        relay.rule(faulty.chunked())
        assert client().manifest(at(relay)).digest == built.digest

    def test_bytes_that_are_not_what_the_registry_claims(self, relay: Relay) -> None:
        relay.rule(faulty.corrupt(30), times=None)
        with pytest.raises(Corrupt, match="team/app:1"):
            client().manifest(at(relay))

    def test_bytes_that_are_not_what_was_asked_for(self, relay: Relay, built: BuiltImage) -> None:
        relay.rule(faulty.answer(200, b'{"schemaVersion": 2, "layers": []}'), times=None)
        with pytest.raises(Corrupt, match=built.digest.hex):
            client().manifest(at(relay).with_digest(built.digest))

    def test_a_broken_manifest_is_asked_for_again(self, relay: Relay, built: BuiltImage) -> None:
        relay.rule(faulty.cut(20))
        assert client().manifest(at(relay)).digest == built.digest
        relay.rules.clear()
        relay.requests.clear()
        relay.rule(faulty.cut(20), times=None)
        with pytest.raises(Unreachable):
            client().manifest(at(relay))
        assert len(relay.requests) == 2

    def test_an_endless_manifest_is_not_read_to_its_end(self, relay: Relay) -> None:
        relay.rule(faulty.extend(b" " * (5 << 20)))
        with pytest.raises(Corrupt, match="more than"):
            client().manifest(at(relay))

    @pytest.mark.parametrize("body", [b"", b"<html>sign in</html>", b"[]", b"{}", b"[" * 100_000])
    def test_what_is_no_manifest(self, relay: Relay, body: bytes) -> None:
        relay.rule(faulty.answer(200, body))
        with pytest.raises(Corrupt):
            client().manifest(at(relay))

    def test_schema_1_is_named(self, relay: Relay) -> None:
        relay.rule(faulty.answer(200, b'{"schemaVersion": 1, "fsLayers": []}'))
        with pytest.raises(Unsupported, match="schema 1"):
            client().manifest(at(relay))


class TestRefusals:
    def test_rate_limits_of_the_anonymous_are_not_those_of_a_user(self, private_upstream: Upstream) -> None:
        built = image("limited")
        private_upstream.push(built, "team/app", "1")
        with Relay(private_upstream.host) as relay:

            def limit(exchange: faulty.Exchange) -> None:
                if "Authorization" in exchange.headers:
                    faulty.pass_on(exchange)
                else:
                    faulty.error(429, "TOOMANYREQUESTS", headers={"Retry-After": "3600"})(exchange)

            relay.rule(limit, path="/v2/team", times=None)
            with pytest.raises(RateLimited) as limited:
                client().manifest(at(relay))
            assert limited.value.retry_after == 3600
            relay.rules.clear()
            assert client(lambda _: [ALICE]).manifest(at(relay)).digest == built.digest

    def test_a_registry_that_hides_what_is_private(self, private_upstream: Upstream) -> None:
        built = image("hidden")
        private_upstream.push(built, "team/app", "1")
        with Relay(private_upstream.host) as relay:

            def hide(exchange: faulty.Exchange) -> None:
                if "Authorization" in exchange.headers:
                    faulty.pass_on(exchange)
                else:
                    faulty.error(404, "NAME_UNKNOWN")(exchange)

            relay.rule(hide, path="/v2/team", times=None)
            with pytest.raises(NotFound):
                client().manifest(at(relay))
            assert client(lambda _: [ALICE]).manifest(at(relay)).digest == built.digest

    def test_not_found_is_final_where_the_repository_has_opened(self, upstream: Upstream) -> None:
        reference = Reference.parse(upstream.push(image("public"), "team/app", "1"))
        asked: list[Reference] = []

        def ring(reference: Reference) -> list[Credentials]:
            asked.append(reference)
            return [ALICE]

        reader = Client(client().transport, ring)
        reader.manifest(reference)
        with pytest.raises(NotFound):
            reader.manifest(Reference.parse(f"{upstream.host}/team/app:2"))
        assert asked == [], "a public repository never needs a secret"


def test_a_registry_that_is_down_is_unreachable(upstream: Upstream) -> None:
    upstream.stop()
    with pytest.raises(Unreachable, match=f"{upstream.host}.*connection refused"):
        client().ping(upstream.host)


def test_ping_takes_a_demand_for_credentials_as_a_sign_of_life(private_upstream: Upstream) -> None:
    client().ping(private_upstream.host)
