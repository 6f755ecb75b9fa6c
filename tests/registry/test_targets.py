"""From a real upstream into a layout, and from there or from upstream into a real registry, read by a real client."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.client import Client
from registry.copy import CopyOptions, copy
from registry.credentials import Credentials
from registry.errors import Corrupt, NoPlatform, NotFound, ServerFailure, Unauthorized
from registry.layout import Layout
from registry.layout_target import LayoutTarget
from registry.manifest import Manifest, Platform
from registry.reference import Reference
from registry.targets import RegistryTarget
from registry.transport import HostSettings, Transport
from tests.registry.memory_source import MemorySource
from tests.rig import skopeo
from tests.rig.images import BuiltImage, image, index, multi_platform
from tests.rig.upstream import Upstream

AMD64 = Platform("linux", "amd64")
ARM64 = Platform("linux", "arm64")
BUILDS = {
    "oci": image("a"),
    "docker": image("a", docker=True),
    "oci-index": multi_platform("a"),
    "docker-list": multi_platform("a", docker=True),
}


@pytest.fixture
def client() -> Client:
    return Client(Transport(lambda _host: HostSettings(plain_http=True)))


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "store")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Upstream]:
    """The cluster's own registry."""
    registry = Upstream(tmp_path / "cluster-registry").start()
    yield registry
    registry.stop()


def assert_whole(layout: Layout, built: BuiltImage) -> None:
    for digest, content in [*built.blobs.items(), *((key, raw) for key, (_, raw) in built.manifests.items())]:
        assert layout.blobs.path(digest).read_bytes() == content


@pytest.mark.parametrize("built", BUILDS.values(), ids=BUILDS)
@pytest.mark.parametrize("tag", ["1.0", None], ids=["tag", "digest"])
def test_from_upstream_into_a_layout(
    upstream: Upstream, client: Client, layout: Layout, built: BuiltImage, tag: str | None
) -> None:
    reference = Reference.parse(upstream.push(built, "team/app", tag))
    upstream.forget_requests()
    copied = copy(reference, client, LayoutTarget(layout))
    assert copied.digest == built.digest
    assert_whole(layout, built)
    assert layout.missing(reference) == ()
    assert upstream.count("GET", "/blobs/") == len(built.blobs)
    upstream.forget_requests()
    copy(reference, client, LayoutTarget(layout))
    assert [(method, path) for method, path, _ in upstream.requests() if path != "/v2/"] == [
        ("GET", f"/v2/team/app/manifests/{reference.target}")
    ]


@pytest.mark.needs("skopeo")
def test_skopeo_reads_from_the_layout_what_upstream_has(
    upstream: Upstream, client: Client, layout: Layout, tmp_path: Path
) -> None:
    built = multi_platform("a")
    reference = Reference.parse(upstream.push(built, "team/app", "1.0"))
    copy(reference, client, LayoutTarget(layout))
    upstream.stop()
    skopeo.run("copy", "--all", "--preserve-digests", f"oci:{layout.root}:{reference}", f"dir:{tmp_path / 'out'}")
    found = hashlib.sha256((tmp_path / "out" / "manifest.json").read_bytes()).hexdigest()
    assert found == built.digest.hex


@pytest.mark.needs("skopeo")
def test_skopeo_reads_the_one_platform_that_was_copied(
    upstream: Upstream, client: Client, layout: Layout, tmp_path: Path
) -> None:
    reference = Reference.parse(upstream.push(multi_platform("a"), "team/app", "1.0"))
    upstream.forget_requests()
    copy(reference, client, LayoutTarget(layout), CopyOptions(frozenset({ARM64})))
    wanted = image("a", platform="linux/arm64")
    asked = {path.rpartition("/")[2] for method, path, _ in upstream.requests() if "/blobs/" in path}
    assert asked == {str(digest) for digest in wanted.blobs}
    where = f"oci:{layout.root}:{reference}"
    skopeo.run("--override-arch", "arm64", "copy", "--preserve-digests", where, f"dir:{tmp_path / 'out'}")
    found = hashlib.sha256((tmp_path / "out" / "manifest.json").read_bytes()).hexdigest()
    assert found == wanted.digest.hex


def test_the_same_path_on_two_registries_is_two_images(
    upstream: Upstream, store: Upstream, client: Client, layout: Layout
) -> None:
    one = Reference.parse(upstream.push(image("one"), "team/app", "1.0"))
    two = Reference.parse(store.push(image("two"), "team/app", "1.0"))
    for reference in (one, two):
        copy(reference, client, LayoutTarget(layout))
    assert {reference: found.digest for reference, found in layout.references().items()} == {
        one: image("one").digest,
        two: image("two").digest,
    }


def test_a_layer_that_upstream_damaged_is_refused_and_not_kept(
    upstream: Upstream, client: Client, layout: Layout
) -> None:
    built = image("a", layers=1)
    reference = Reference.parse(upstream.push(built, "team/app", "1.0"))
    layer = max(built.blobs, key=lambda digest: len(built.blobs[digest]))
    (stored,) = upstream.folder.glob(f"data/**/{layer.hex}/data")
    stored.write_bytes(b"x" + built.blobs[layer][1:])
    with pytest.raises(Corrupt, match=layer.hex):
        copy(reference, client, LayoutTarget(layout))
    assert layout.references() == {}
    assert layout.blobs.size(layer) is None
    assert not list((layout.root / "blobs.ingest").glob(f"*{layer.hex}"))
    stored.write_bytes(built.blobs[layer])
    copy(reference, client, LayoutTarget(layout))
    assert_whole(layout, built)


def test_an_interrupted_layer_is_resumed_by_range(upstream: Upstream, client: Client, layout: Layout) -> None:
    built = image("a", layers=1, layer_size=100_000)
    reference = Reference.parse(upstream.push(built, "team/app", "1.0"))
    layer = max(built.blobs, key=lambda digest: len(built.blobs[digest]))
    content = built.blobs[layer]
    with layout.blobs.ingest(layer, len(content)) as ingest:
        ingest.write(content[:60_000])
    upstream.forget_requests()
    copied = copy(reference, client, LayoutTarget(layout))
    assert copied.fetched_bytes == copied.size - 60_000
    assert [status for _, path, status in upstream.requests() if path.endswith(str(layer))] == [206]
    assert_whole(layout, built)


def test_errors_of_upstream_keep_their_type(
    upstream: Upstream, private_upstream: Upstream, client: Client, layout: Layout
) -> None:
    upstream.push(multi_platform("a"), "team/app", "1.0")
    private_upstream.push(image("a"), "team/app", "1.0")
    with pytest.raises(NotFound):
        copy(Reference.parse(f"{upstream.host}/team/app:2.0"), client, LayoutTarget(layout))
    with pytest.raises(Unauthorized):
        copy(Reference.parse(f"{private_upstream.host}/team/app:1.0"), client, LayoutTarget(layout))
    wanted = CopyOptions(frozenset({Platform("linux", "s390x")}))
    with pytest.raises(NoPlatform):
        copy(Reference.parse(f"{upstream.host}/team/app:1.0"), client, LayoutTarget(layout), wanted)
    assert layout.references() == {}


def test_a_private_image_comes_with_its_credentials(private_upstream: Upstream, layout: Layout) -> None:
    reference = Reference.parse(private_upstream.push(image("a"), "team/app", "1.0"))
    credentials = Credentials(private_upstream.user, private_upstream.password)
    keyed = Client(Transport(lambda _host: HostSettings(plain_http=True)), lambda _reference: (credentials,))
    assert copy(reference, keyed, LayoutTarget(layout)).digest == image("a").digest


@pytest.mark.needs("skopeo")
@pytest.mark.parametrize("built", BUILDS.values(), ids=BUILDS)
def test_from_upstream_into_a_registry(
    upstream: Upstream, store: Upstream, client: Client, tmp_path: Path, built: BuiltImage
) -> None:
    reference = Reference.parse(upstream.push(built, "team/app", "1.0"))
    copied = copy(reference, client, RegistryTarget(client, store.host))
    assert copied.digest == built.digest
    upstream.stop()
    stored = f"{store.host}/{upstream.host.replace(':', '__')}/team/app"
    assert skopeo.raw_digest(f"{stored}:1.0") == str(built.digest)
    assert skopeo.pull(f"{stored}@{built.digest}", tmp_path / "out", "--all", "--preserve-digests") == str(built.digest)


def test_what_the_registry_has_is_neither_fetched_nor_pushed(
    upstream: Upstream, store: Upstream, client: Client
) -> None:
    reference = Reference.parse(upstream.push(multi_platform("a"), "team/app", "1.0"))
    copied = copy(reference, client, RegistryTarget(client, store.host))
    upstream.forget_requests()
    store.forget_requests()
    again = copy(reference, client, RegistryTarget(client, store.host))
    assert (again.digest, again.size, again.platforms) == (copied.digest, copied.size, (AMD64, ARM64))
    assert upstream.count("GET", "/manifests/") == 1
    assert upstream.count("GET", "/blobs/") == 0
    assert store.count("POST", "/blobs/uploads/") == 0


def test_what_a_tag_named_before_it_moved_keeps_an_anchor(upstream: Upstream, store: Upstream, client: Client) -> None:
    before, after = image("a"), image("b")
    for built in (before, after, after):
        reference = Reference.parse(upstream.push(built, "team/app", "1.0"))
        copy(reference, client, RegistryTarget(client, store.host))
    place = Reference.parse(f"{store.host}/{upstream.host.replace(':', '__')}/team/app:1.0")
    assert sorted(client.tags(place)) == ["1.0", f"digest-{before.digest.hex}"]
    assert client.head(place).digest == after.digest


def test_an_image_named_by_digest_gets_an_anchor_tag(upstream: Upstream, store: Upstream, client: Client) -> None:
    built = image("a")
    reference = Reference.parse(upstream.push(built, "team/app"))
    copied = copy(reference, client, RegistryTarget(client, store.host))
    assert copied.platforms == (AMD64,)
    place = Reference.parse(f"{store.host}/{upstream.host.replace(':', '__')}/team/app")
    assert client.tags(place) == (f"digest-{built.digest.hex}",)


def test_the_registry_never_gets_a_damaged_blob(store: Upstream, client: Client) -> None:
    source, built = MemorySource(), image("a")
    reference = source.add(built, "reg:5000/team/app:1")
    victim = next(iter(built.blobs))
    source.blobs[victim] = bytes(len(built.blobs[victim]))
    with pytest.raises(Corrupt, match=victim.hex):
        copy(reference, source, RegistryTarget(client, store.host))
    place = Reference.parse(f"{store.host}/reg__5000/team/app:1")
    assert client.has_blob(place, victim) is None
    with pytest.raises(NotFound):
        client.head(place)


class CollectedAtTheTag(Client):
    """Into this client's registry a collection comes, just when the tag is set, and takes these files."""

    files: tuple[Path, ...] = ()

    def push_manifest(self, reference: Reference, manifest: Manifest) -> None:
        super().push_manifest(reference, manifest)
        if reference.tag:
            for file in self.files:
                file.unlink()


@pytest.mark.parametrize("part", ["blob", "child"])
def test_what_vanished_meanwhile_is_noticed_after_tagging_and_healed_by_the_next_copy(
    store: Upstream, client: Client, part: str
) -> None:
    source, built = MemorySource(), index([image("a")])
    reference = source.add(built, "reg:5000/team/app:1")
    copy(reference, source, RegistryTarget(client, store.host))
    victim = next(iter(built.blobs)) if part == "blob" else image("a").digest
    unlucky = CollectedAtTheTag(client.transport)
    unlucky.files = tuple(store.folder.glob(f"data/**/{victim.hex}/data"))
    assert unlucky.files
    reference = source.add(built, "reg:5000/team/app:2")
    with pytest.raises(ServerFailure, match=f"{victim}.*vanished") as raised:
        copy(reference, source, RegistryTarget(unlucky, store.host))
    assert raised.value.temporary
    copy(reference, source, RegistryTarget(client, store.host))
    place = Reference.parse(f"{store.host}/reg__5000/team/app:2")
    assert client.manifest(place).digest == built.digest
    assert client.manifest(place.with_digest(image("a").digest)).raw == image("a").raw
    assert all(client.has_blob(place, digest) == len(blob) for digest, blob in built.blobs.items())
