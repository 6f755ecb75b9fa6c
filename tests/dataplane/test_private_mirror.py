"""Private images where containerd uses the proxy as a mirror: they are not there, so it asks their registry itself."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.capability import capability
from registry.proxied import proxied
from registry.reference import Reference
from tests.dataplane.rig.containerd import VERSIONS, Containerd
from tests.dataplane.rig.plane import Plane, plane
from tests.dataplane.rig.registry import registry
from tests.rig import skopeo
from tests.rig.images import BuiltImage, image
from tests.rig.kubernetes import Kubernetes
from tests.rig.manifests import pull_secret
from tests.rig.processes import wait_until
from tests.rig.upstream import Upstream

USER, PASSWORD = "alice", "s3cret-enough"
KEY = "the-key-of-capabilities"

pytestmark = [
    pytest.mark.needs("containerd", "skopeo"),
    pytest.mark.skipif(os.geteuid() != 0 and not os.environ.get("CI"), reason="containerd needs root"),
]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    running = Upstream(tmp_path_factory.mktemp("source"), user=USER, password=PASSWORD).start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Kubernetes]:
    running = Kubernetes().start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def running(cluster: Kubernetes, source: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    folder = tmp_path_factory.mktemp("plane")
    (folder / "keys").mkdir()
    (folder / "keys" / "current").write_text(KEY)
    shields = ("--kubeconfig", str(cluster.kubeconfig(folder / "kubeconfig")))
    proxies = ("--capability-keys", str(folder / "keys"))
    with registry(folder, "s3") as copies, plane(folder, copies, source, shields, proxies) as found:
        yield found


@pytest.fixture(scope="module")
def cached(running: Plane, source: Upstream, cluster: Kubernetes) -> tuple[Reference, BuiltImage]:
    """A private image that a pod uses and that is in the registry."""
    built = image("private")
    reference = Reference.parse(source.push(built, "team/own", "1"))
    secret = cluster.secret(pull_secret("regcred", reference.host, USER, PASSWORD, "a"))
    cluster.use(str(reference), secret)
    wait_until(lambda: running.copy(str(reference)).get("visibility") == "Private", "it is copied as private", 30)
    return reference, built


def test_it_is_pulled_by_its_capability_from_distribution_while_all_else_is_dead(
    running: Plane, source: Upstream, cached: tuple[Reference, BuiltImage], tmp_path: Path
) -> None:
    reference, built = cached
    source.stop()
    running.shield.stop()
    try:
        name = str(proxied(reference, running.proxy.host, capability(KEY.encode(), reference)))
        assert skopeo.pull(name, tmp_path / "pulled") == str(built.digest)
    finally:
        running.shield.start()
        source.start()


def test_a_mirror_knows_of_no_private_image(running: Plane, cached: tuple[Reference, BuiltImage]) -> None:
    reference, built = cached
    blobs = [f"blobs/{digest}" for digest in built.blobs]
    for what in ("manifests/1", f"manifests/{built.digest}", "tags/list", *blobs):
        for path in (
            f"/v2/{reference.repository}/{what}?ns={reference.host}",
            f"/v2/private/{'0' * 32}/x.example/a/{what}",
        ):
            assert running.proxy.get(path).status == 404, path


@pytest.mark.parametrize("version", VERSIONS)
def test_containerd_pulls_it_from_its_registry_with_the_pods_credentials(
    running: Plane, source: Upstream, cached: tuple[Reference, BuiltImage], version: str
) -> None:
    reference, built = cached
    by_digest = reference.with_digest(built.digest)
    with Containerd(version) as containerd:
        default = containerd.hosts / "_default" / "hosts.toml"
        default.parent.mkdir()
        default.write_text(f'[host."{running.proxy.url}"]\n  capabilities = ["pull", "resolve"]\n')
        for name in (str(reference), str(by_digest)):
            source.forget_requests()
            assert containerd.pull(name, "--user", f"{USER}:{PASSWORD}") == str(built.digest)
            assert source.count("GET", "/blobs/") == len(built.blobs), "its bytes came from upstream"
            assert containerd.try_pull(name).returncode != 0, "without credentials nobody gets it"
