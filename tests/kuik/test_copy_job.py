"""The copy Job as a cluster runs it: from a real shield to a real registry, and what it says on its Job."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from hooks.attempts import Attempt
from hooks.attempts import Copied as Taken
from kuik.copy_job import Order, failed, opened, read_order, succeeded
from kuik.through_shield import ThroughShield
from registry.attached import cosign_tags, fallback_tag
from registry.client import Client
from registry.copy import Copied
from registry.digest import Digest
from registry.errors import Unreachable
from registry.manifest import OCI_MANIFEST, Platform
from registry.reference import Reference
from registry.transport import HostSettings, Transport
from tests.rig import skopeo
from tests.rig.components import TOKEN, Component, proxy, shield
from tests.rig.images import BuiltImage, image, index, multi_platform
from tests.rig.kuik import proxied
from tests.rig.processes import free_port, stop, wait_until
from tests.rig.upstream import Upstream


def run(*words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "kuik.copy_job", *words]
    environment = {**os.environ, "KUIK_TOKEN": TOKEN}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)


def begin(*words: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "kuik.copy_job", *words]
    environment = {**os.environ, "KUIK_TOKEN": TOKEN}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)


@pytest.fixture
def a_shield(tmp_path: Path, upstream: Upstream) -> Iterator[Component]:
    component = shield(tmp_path / "shield", "--plain-http", upstream.host).start()
    yield component
    component.stop()


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Upstream]:
    """The cluster's own registry."""
    component = Upstream(tmp_path / "registry").start()
    yield component
    component.stop()


@pytest.mark.needs("skopeo")
def test_the_parts_of_a_cluster_together(
    upstream: Upstream, a_shield: Component, registry: Upstream, tmp_path: Path
) -> None:
    """Copied through a shield into a registry; then a node proxy serves it with shield and upstream gone."""
    many, single = multi_platform("many"), image("single", docker=True)
    images = {upstream.push(many, "a/many", "1"): many, upstream.push(single, "a/single"): single}
    for name, built in images.items():
        done = run("--image", name, "--source", a_shield.url, "--target", f"http://{registry.host}")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["digest"] == str(built.digest)
    anchor = f"{registry.host}/{upstream.host.replace(':', '__')}/a/single:digest-{single.digest.hex}"
    assert skopeo.raw_digest(anchor) == str(single.digest)
    upstream.stop()
    a_shield.stop()
    node = proxy(tmp_path / "node", "--registry", f"http://{registry.host}", "--shield", a_shield.url).start()
    try:
        for number, (name, built) in enumerate(images.items()):
            assert skopeo.pull(proxied(node.host, name), tmp_path / str(number), "--all") == str(built.digest)
    finally:
        node.stop()


def artifact(subject: BuiltImage, content: bytes) -> BuiltImage:
    """A signature or the like: a manifest without a platform that names its subject."""
    empty, blob = Digest.of(b"{}"), Digest.of(content)
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": "application/vnd.example.signature",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": str(empty), "size": 2},
        "layers": [{"mediaType": "application/vnd.example", "digest": str(blob), "size": len(content)}],
        "subject": {"mediaType": subject.media_type, "digest": str(subject.digest), "size": len(subject.raw)},
    }
    raw = json.dumps(document).encode()
    digest = Digest.of(raw)
    return BuiltImage(raw, OCI_MANIFEST, digest, {digest: (OCI_MANIFEST, raw)}, {empty: b"{}", blob: content})


@pytest.mark.parametrize("wanted", [True, False])
def test_what_refers_to_an_image_or_its_platforms_is_kept_when_asked_for(
    upstream: Upstream, a_shield: Component, registry: Upstream, wanted: bool
) -> None:
    child = image("signed")
    built = index([child])
    name = upstream.push(built, "team/app", "1")
    by_tag, by_cosign = artifact(built, b"sbom"), artifact(child, b"signature")
    fallback = index([by_tag])
    upstream.push(fallback, "team/app", fallback_tag(built.digest))
    upstream.push(by_cosign, "team/app", cosign_tags(child.digest)[0])
    words = ["--source", a_shield.url, "--target", f"http://{registry.host}", *(["--referrers"] if wanted else [])]
    done = run("--image", name, *words)
    assert done.returncode == 0, done.stderr
    upstream.stop()
    client = Client(Transport(lambda _host: HostSettings(plain_http=True)))
    place = Reference.parse(f"{registry.host}/{upstream.host.replace(':', '__')}/team/app:1")
    there = set(client.tags(place))
    if not wanted:
        assert there == {"1"}
        return
    assert there == {"1", fallback_tag(built.digest), cosign_tags(child.digest)[0]}
    for one in (fallback, by_tag, by_cosign):
        assert client.manifest(place.with_digest(one.digest)).raw == one.raw
        assert all(client.has_blob(place, digest) == len(blob) for digest, blob in one.blobs.items())


def test_a_job_waits_for_a_shield_that_restarts(upstream: Upstream, registry: Upstream, tmp_path: Path) -> None:
    """The Job begins while no shield is there, and its shield is killed in the middle of a layer."""
    built = image("restarts", layers=1, layer_size=24 << 20)
    name = upstream.push(built, "a/large", "1")
    a_shield = shield(tmp_path / "shield", "--plain-http", upstream.host)
    job = begin("--image", name, "--source", a_shield.url, "--target", f"http://{registry.host}")
    try:
        a_shield.start()
        wait_until(lambda: any(registry.folder.glob("data/**/_uploads/*/data")), "the layer is on its way", 30)
        a_shield.kill()
        a_shield.start()
        said, _ = job.communicate(timeout=60)
    finally:
        stop(job)
        a_shield.stop()
    assert json.loads(said)["digest"] == str(built.digest)


def test_nobody_knows_whether_an_image_is_private_while_no_shield_answers() -> None:
    client = Client(Transport(lambda _host: HostSettings(plain_http=True)))
    with pytest.raises(Unreachable):
        opened(Order(Reference.parse("a/b")), ThroughShield(client, (f"127.0.0.1:{free_port()}",)))


def test_what_fails_is_a_reason_and_an_exit_status(upstream: Upstream, a_shield: Component) -> None:
    done = run("--image", f"{upstream.host}/no/such:1", "--source", a_shield.url, "--target", f"http://{upstream.host}")
    assert done.returncode == 1
    result = json.loads(done.stdout)
    assert result["reason"] == "NotFound"
    assert f"{upstream.host}/no/such:1" in result["message"]


def test_an_order_is_read_from_arguments() -> None:
    words = ["--image", "nginx", "--platform", "linux/arm64", "--source", "http://s:1", "--target", "http://r:1"]
    image_ = Reference.parse("nginx")
    assert read_order(words) == Order(image_, frozenset({Platform("linux", "arm64")}), ("http://s:1",), ("http://r:1",))


@pytest.mark.parametrize("words", [[], ["--image", "UPPER/case"], ["--image", "a", "--platform", "amd64"]])
def test_orders_that_make_no_sense_are_refused(words: list[str]) -> None:
    with pytest.raises(click.UsageError):
        read_order(words)


def job(result: object) -> dict[str, object]:
    noted = {"kuik.dev/result": json.dumps(result), "kuik.dev/attempt": "1"}
    done = {"conditions": [{"type": "Complete", "status": "True"}]}
    return {"metadata": {"name": "copy", "annotations": noted}, "status": done}


@pytest.mark.parametrize("names", [[f"linux/a{number}" for number in range(5000)], ["linux/" + "a" * 100_000]])
def test_an_index_of_any_number_of_platforms_gives_a_result_that_is_read(names: list[str]) -> None:
    platforms = tuple(map(Platform.parse, [*names, "linux/a"]))
    taken = Attempt.read(job(succeeded(Copied(Digest.parse("sha256:" + "ab" * 32), 1, platforms, 1)))).outcome
    assert isinstance(taken, Taken)
    assert "linux/a" in taken.platforms


def test_a_registry_that_says_a_lot_gives_a_reason_that_is_read() -> None:
    outcome = Attempt.read(job(failed(Unreachable("no " * 10_000)))).outcome
    assert getattr(outcome, "reason", "") == "Unreachable"
