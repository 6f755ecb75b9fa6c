"""Pulls as kubelet asks for them; hosts.toml is written by kuik's program where containerd's configuration says."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dataplane.rig.containerd import VERSIONS, Containerd
from tests.dataplane.rig.plane import Plane, plane
from tests.dataplane.rig.registry import registry
from tests.rig.images import BuiltImage, image
from tests.rig.upstream import Upstream

USER, PASSWORD = "alice", "s3cret-enough"

pytestmark = [
    pytest.mark.needs("containerd", "runc"),
    pytest.mark.skipif(os.geteuid() != 0 and not os.environ.get("CI"), reason="containerd needs root"),
]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    running = Upstream(tmp_path_factory.mktemp("source")).start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def secret_source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    running = Upstream(tmp_path_factory.mktemp("secret"), user=USER, password=PASSWORD).start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def running(source: Upstream, secret_source: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    folder, plain = tmp_path_factory.mktemp("plane"), ("--plain-http", secret_source.host)
    with registry(folder, "s3") as copies, plane(folder, copies, source, plain, plain) as found:
        yield found


@pytest.fixture(scope="module")
def built(source: Upstream, running: Plane) -> BuiltImage:
    """An image that is cached under three names: what containerd has pulled it does not pull again."""
    made = image("kubelet")
    for name in ("tag", "digest", "dead"):
        assert running.copy(source.push(made, f"team/{name}", "1"))["digest"] == str(made.digest)
    return made


@pytest.fixture(params=VERSIONS)
def containerd(request: pytest.FixtureRequest, running: Plane) -> Iterator[Containerd]:
    with Containerd(request.param, for_kubelet=True) as found:
        words = [sys.executable, "-m", "kuik.mirror", "write", "--containerd-config", str(found.config)]
        done = subprocess.run(
            [*words, "--proxy", running.proxy.url], capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 0, done.stderr
        yield found


def test_by_tag_while_upstream_is_dead(
    running: Plane, source: Upstream, built: BuiltImage, containerd: Containerd
) -> None:
    source.stop()
    try:
        name = containerd.kubelet_pulls(f"{source.host}/team/tag:1")
        assert name == f"{source.host}/team/tag@{built.digest}", "the pod's own name for it, and upstream's digest"
    finally:
        source.start()


def test_by_digest_while_upstream_is_dead(
    running: Plane, source: Upstream, built: BuiltImage, containerd: Containerd
) -> None:
    source.stop()
    try:
        image_name = f"{source.host}/team/digest@{built.digest}"
        assert containerd.kubelet_pulls(image_name) == image_name
    finally:
        source.start()


def test_from_upstream_while_the_proxy_is_dead(
    running: Plane, source: Upstream, built: BuiltImage, containerd: Containerd
) -> None:
    running.proxy.stop()
    source.forget_requests()
    try:
        name = containerd.kubelet_pulls(f"{source.host}/team/dead:1")
        assert name == f"{source.host}/team/dead@{built.digest}"
    finally:
        running.proxy.start()
    assert source.count("GET", "/blobs/") == len(built.blobs)


def test_a_private_image_with_the_pods_own_credentials(
    running: Plane, secret_source: Upstream, containerd: Containerd
) -> None:
    made = image("secret")
    reference = secret_source.push(made, "team/secret", "1")
    # containerd 1.6 tells upstream's refusal, 2.1 the mirror's 404.
    assert any(word in containerd.kubelet_pulls(reference) for word in ("401", "not found"))
    name = containerd.kubelet_pulls(reference, "--creds", f"{USER}:{PASSWORD}")
    assert name == f"{secret_source.host}/team/secret@{made.digest}"


def test_pulls_by_the_rewritten_name_need_no_file(
    running: Plane, source: Upstream, built: BuiltImage, tmp_path: Path
) -> None:
    for version in VERSIONS:
        with Containerd(version, for_kubelet=True) as bare:
            name = bare.kubelet_pulls(running.proxy.image(f"{source.host}/team/tag:1"))
            assert name == running.proxy.image(f"{source.host}/team/tag@{built.digest}")
