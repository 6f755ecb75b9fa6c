"""Pulls by a real containerd: by the name at the proxy, and as a mirror, from which it falls back by itself."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from kuik.mirror.hosts_file import with_mirror, without_mirror
from tests.dataplane.rig.containerd import VERSIONS, Containerd
from tests.dataplane.rig.plane import Plane, plane
from tests.dataplane.rig.registry import registry
from tests.rig.images import BuiltImage, multi_platform
from tests.rig.processes import wait_until
from tests.rig.upstream import Upstream

pytestmark = [
    pytest.mark.needs("containerd"),
    pytest.mark.skipif(os.geteuid() != 0 and not os.environ.get("CI"), reason="containerd needs root"),
]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    running = Upstream(tmp_path_factory.mktemp("upstream")).start()
    yield running
    running.stop()


@pytest.fixture(scope="module", params=["folder", "s3"])
def running(
    request: pytest.FixtureRequest, source: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Plane]:
    folder = tmp_path_factory.mktemp("plane")
    with registry(folder, request.param) as copies, plane(folder, copies, source) as found:
        yield found


@pytest.fixture(params=VERSIONS)
def containerd(request: pytest.FixtureRequest) -> Iterator[Containerd]:
    with Containerd(request.param) as found:
        yield found


@pytest.fixture(scope="module")
def cached(running: Plane, source: Upstream) -> tuple[str, BuiltImage]:
    """An image that is in the registry, by its upstream name."""
    built = multi_platform(running.registry.writer.folder)
    reference = source.push(built, f"team/cached-{running.registry.writer.port}", "1")
    # The shield may have met upstream dead a moment ago, and leaves it alone for some seconds.
    wait_until(lambda: running.copy(reference).get("digest") == str(built.digest), "it is copied", 20)
    return reference, built


def mirror(command: str, containerd: Containerd, *options: str) -> str:
    words = [sys.executable, "-m", "kuik.mirror", command, "--config-path", str(containerd.hosts), *options]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


def names(reference: str, built: BuiltImage) -> tuple[str, str]:
    """An image by tag and by digest."""
    return reference, f"{reference.rpartition(':')[0]}@{built.digest}"


def test_a_cached_image_is_pulled_by_its_name_at_the_proxy_while_upstream_is_dead(
    running: Plane, source: Upstream, containerd: Containerd, cached: tuple[str, BuiltImage]
) -> None:
    reference, built = cached
    source.stop()
    try:
        for name in names(reference, built):
            assert containerd.pull(running.proxy.image(name), "--plain-http") == str(built.digest)
    finally:
        source.start()


def test_as_a_mirror_the_proxy_serves_what_is_cached_while_upstream_is_dead(
    running: Plane, source: Upstream, containerd: Containerd, cached: tuple[str, BuiltImage]
) -> None:
    reference, built = cached
    said = mirror("write", containerd, "--proxy", running.proxy.url)
    assert "_default/hosts.toml: changed" in said
    source.stop()
    try:
        for name in names(reference, built):
            assert containerd.pull(name) == str(built.digest)
        mirror("remove", containerd)
        assert list(containerd.hosts.iterdir()) == []
        assert containerd.try_pull(reference).returncode != 0, "without its mirror there is nowhere to pull from"
    finally:
        source.start()


def test_a_dead_mirror_is_passed_by_to_upstream(
    running: Plane, source: Upstream, containerd: Containerd, cached: tuple[str, BuiltImage]
) -> None:
    reference, built = cached
    mirror("write", containerd, "--proxy", running.proxy.url)
    source.forget_requests()
    for name in names(reference, built):
        assert containerd.pull(name) == str(built.digest)
    assert source.count("GET", "/blobs/") == 0, "the mirror is used while it is there"
    running.proxy.stop()
    try:
        for name in names(reference, built):
            assert containerd.pull(name) == str(built.digest)
    finally:
        running.proxy.start()
    assert source.count("GET", "/blobs/") > 0


def test_a_registry_that_has_a_file_of_its_own_is_asked_by_the_proxy_first_and_by_it_after(
    running: Plane, source: Upstream, containerd: Containerd, cached: tuple[str, BuiltImage]
) -> None:
    """containerd reads one file for a host: `_default` does not count where the host has its own."""
    reference, built = cached
    own = containerd.hosts / source.host / "hosts.toml"
    own.parent.mkdir()
    text = f'server = "http://{source.host}"\n\n[host."http://127.0.0.1:1"]\n  capabilities = ["pull", "resolve"]'
    own.write_text(text)
    source.forget_requests()
    # The rig's registries are on loopback, which kuik leaves alone: so the file is written here as for any other host.
    own.write_text(with_mirror(text, running.proxy.url))
    assert containerd.pull(reference) == str(built.digest)
    assert source.count("GET", "/blobs/") == 0
    own.write_text(without_mirror(own.read_text()))
    assert own.read_text() == text
    assert containerd.pull(reference) == str(built.digest)
    assert source.count("GET", "/blobs/") > 0
