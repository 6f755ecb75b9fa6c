"""A copy Job that is told to stop, or killed, at any step: what is named is whole, and the next Job brings the rest."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.client import Client
from registry.errors import NotFound
from registry.reference import Reference
from registry.transport import HostSettings, Transport
from tests.rig.faulty import Exchange, Relay, pass_on
from tests.rig.images import BuiltImage, multi_platform
from tests.rig.upstream import Upstream

ROOT = Path(__file__).parents[2]
BUILT = multi_platform("stopped", layer_size=200_000)
STEPS = {
    "the first question": ("HEAD", "/manifests/1"),
    "a session": ("POST", "/blobs/uploads/"),
    "a blob": ("PUT", "/blobs/uploads/"),
    "a shared layer": ("POST", "mount="),
    "a platform": ("PUT", "/manifests/sha256"),
    "the name": ("PUT", "/manifests/1"),
    "the last look": ("HEAD", f"/manifests/{BUILT.digest}"),
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Upstream]:
    registry = Upstream(tmp_path / "store").start()
    yield registry
    registry.stop()


def job(name: str, source: str, target: str) -> "subprocess.Popen[bytes]":
    words = ["--image", name, "--plain-http", source, "--target", f"http://{target}"]
    nowhere = subprocess.DEVNULL
    return subprocess.Popen([sys.executable, "-m", "kuik.copy_job", *words], cwd=ROOT, stdout=nowhere, stderr=nowhere)


def is_whole(store: Upstream, name: str) -> bool:
    """Whether the image is named, in which case all of it has to be there."""
    client = Client(Transport(lambda _: HostSettings(plain_http=True)))
    host, _, path = name.partition("/")
    place = Reference.parse(f"{store.host}/{host.replace(':', '__')}/{path}")
    try:
        found = client.head(place).digest
    except NotFound:
        return False
    assert found == BUILT.digest
    assert_all(client, place, BUILT)
    return True


def assert_all(client: Client, place: Reference, built: BuiltImage) -> None:
    for digest, (_, raw) in built.manifests.items():
        assert client.manifest(place.with_digest(digest)).raw == raw
    for digest, content in built.blobs.items():
        with client.open_blob(place, digest) as stream:
            assert b"".join(stream) == content


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_what_is_named_is_whole_whenever_a_job_ends(
    upstream: Upstream, store: Upstream, step: tuple[str, str], how: signal.Signals
) -> None:
    name = upstream.push(BUILT, "team/app", "1")
    with Relay(store.host) as relay:
        pids: list[int] = []

        def strike(exchange: Exchange) -> None:
            os.kill(pids[0], how)
            pass_on(exchange)

        method, path = step
        relay.rule(strike, method=method, path=path)
        running = job(name, upstream.host, relay.host)
        pids.append(running.pid)
        ended = running.wait(60)
        assert relay.rules[0].times == 0
        named = is_whole(store, name)
        assert named or ended != 0
        again = job(name, upstream.host, relay.host)
        assert again.wait(60) == 0
        assert is_whole(store, name)
