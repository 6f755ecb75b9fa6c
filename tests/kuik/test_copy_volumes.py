"""The copy Job and several volumes, on real registries: each byte leaves the source once, and who fails is named."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from kuik.copy_job import LogLines
from kuik.copy_volumes import copy_to_volumes, holding
from kuik.copy_waits import Waits
from registry.client import Client
from registry.copy import CopyOptions, Stopped
from registry.digest import Digest
from registry.errors import NotFound, RegistryError, ServerFailure, Unreachable
from registry.manifest import Manifest
from registry.reference import Reference
from registry.targets import RegistryTarget
from registry.transport import HostSettings, Transport
from tests.registry.memory_source import MemorySource
from tests.rig.images import multi_platform
from tests.rig.processes import free_port
from tests.rig.upstream import Upstream

NAME = "reg:5000/team/app:1"
NO_WAITS = Waits(none=0, some=0)


@pytest.fixture
def client() -> Client:
    return Client(Transport(lambda _host: HostSettings(plain_http=True)))


@pytest.fixture
def registries(tmp_path: Path) -> Iterator[tuple[Upstream, Upstream]]:
    both = Upstream(tmp_path / "0").start(), Upstream(tmp_path / "1").start()
    yield both
    for one in both:
        one.stop()


def targets(client: Client, *hosts: str) -> list[RegistryTarget]:
    return [RegistryTarget(client, host) for host in hosts]


def test_each_blob_leaves_the_source_once(registries: tuple[Upstream, Upstream], client: Client) -> None:
    source, built = MemorySource(), multi_platform("volumes")
    reference = source.add(built, NAME)
    volumes = targets(client, *(one.host for one in registries))
    done = copy_to_volumes(reference, source, volumes, CopyOptions(), LogLines(), NO_WAITS)
    assert (done.copied.digest, done.failures) == (built.digest, {})
    assert sorted(digest for digest, _ in source.blob_requests) == sorted(built.blobs)
    for one in registries:
        place = Reference.parse(f"{one.host}/reg__5000/team/app:1")
        assert client.manifest(place).digest == built.digest
        assert all(client.has_blob(place, digest) == len(blob) for digest, blob in built.blobs.items())


@pytest.mark.parametrize("dead", [0, 1])
def test_a_volume_that_is_away_is_named_and_the_other_is_whole(
    registries: tuple[Upstream, Upstream], client: Client, dead: int
) -> None:
    source, built = MemorySource(), multi_platform("volumes")
    reference = source.add(built, NAME)
    registries[dead].stop()
    hosts = [one.host for one in registries]
    done = copy_to_volumes(reference, source, targets(client, *hosts), CopyOptions(), LogLines(), NO_WAITS)
    assert done.copied.digest == built.digest
    assert {host: error.reason for host, error in done.failures.items()} == {hosts[dead]: "Unreachable"}


def test_a_writer_that_comes_back_is_waited_for(registries: tuple[Upstream, Upstream], client: Client) -> None:
    source, built = MemorySource(), multi_platform("volumes")
    reference = source.add(built, NAME)
    first, second = registries
    second.stop()
    paused: list[float] = []

    def pause(seconds: float) -> bool:
        paused.append(seconds)
        if len(paused) == 2:
            second.start()
        return False

    waits = Waits(none=60, some=60, pause=pause)
    volumes = targets(client, second.host, first.host)
    done = copy_to_volumes(reference, source, volumes, CopyOptions(), LogLines(), waits)
    assert (done.failures, paused) == ({}, [1.0, 2.0])
    assert client.head(Reference.parse(f"{second.host}/reg__5000/team/app:1")).digest == built.digest


def test_a_source_that_fails_is_the_result_at_once(registries: tuple[Upstream, Upstream], client: Client) -> None:
    source = MemorySource()
    reference = source.add(multi_platform("volumes"), NAME)
    source.manifests.clear()
    with pytest.raises(NotFound):
        copy_to_volumes(reference, source, targets(client, registries[0].host), CopyOptions(), LogLines())


class Restarting(MemorySource):
    """A source that is away now and then; `awake` is what ends it."""

    def __init__(self) -> None:
        super().__init__()
        self.away: RegistryError | None = None

    def manifest(self, reference: Reference) -> Manifest:
        if self.away:
            raise self.away
        return super().manifest(reference)

    def sleep(self, digest: Digest, position: int) -> None:
        """Break in the middle of a blob, and be away from then on."""
        if position:
            self.on_piece = lambda _digest, _position: None
            self.away = Unreachable("the shield restarts")
            raise self.away


def test_a_shield_that_restarts_is_waited_for_and_what_came_stays(
    registries: tuple[Upstream, Upstream], client: Client
) -> None:
    source, built = Restarting(), multi_platform("volumes")
    reference = source.add(built, NAME)
    source.on_piece = source.sleep
    paused: list[float] = []

    def pause(seconds: float) -> bool:
        paused.append(seconds)
        if len(paused) == 3:
            source.away = None
        return False

    waits = Waits(none=0, some=0, source=60, pause=pause)
    done = copy_to_volumes(
        reference, source, targets(client, registries[0].host), CopyOptions(parallel=1), LogLines(), waits
    )
    assert (done.copied.digest, done.failures, paused) == (built.digest, {}, [1.0, 2.0, 4.0])
    assert len(source.blob_requests) == len(built.blobs) + 1, "the blob that broke was asked for once more"


@pytest.mark.parametrize(
    ("patience", "error", "pauses"),
    [
        (0, Unreachable("nobody is there"), 0),
        (60, Unreachable("nobody is there"), 7),
        (60, ServerFailure("the shield says that the registry does not answer"), 0),
        (60, NotFound("no such image"), 0),
    ],
    ids=["untold", "too-long", "answered", "not-found"],
)
def test_a_source_is_waited_for_only_while_it_may_come_back(
    client: Client, patience: float, error: RegistryError, pauses: int
) -> None:
    source = Restarting()
    reference = source.add(multi_platform("volumes"), NAME)
    source.away = error
    now, paused = [0.0], list[float]()

    def pause(seconds: float) -> bool:
        paused.append(seconds)
        now[0] += seconds
        return False

    waits = Waits(none=0, some=0, source=patience, pause=pause, clock=lambda: now[0])
    with pytest.raises(type(error)):
        copy_to_volumes(reference, source, targets(client, "127.0.0.1:1"), CopyOptions(), LogLines(), waits)
    assert (len(paused), sum(paused)) == (pauses, patience if pauses else 0)


def test_no_volume_that_answers_is_a_failure(client: Client) -> None:
    source = MemorySource()
    reference = source.add(multi_platform("volumes"), NAME)
    with pytest.raises(Unreachable):
        copy_to_volumes(
            reference, source, targets(client, f"127.0.0.1:{free_port()}"), CopyOptions(), LogLines(), NO_WAITS
        )


def job(*words: str) -> "subprocess.Popen[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KUIK_")}
    command = [sys.executable, "-m", "kuik.copy_job", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)


def test_the_result_names_the_volumes(upstream: Upstream, registries: tuple[Upstream, Upstream]) -> None:
    built = multi_platform("volumes")
    name = upstream.push(built, "team/app", "1")
    words = [word for one in registries for word in ("--target", f"http://{one.host}")]
    with job("--image", name, "--plain-http", upstream.host, *words) as running:
        result = json.loads(running.communicate(timeout=60)[0])
    assert (running.returncode, result["digest"]) == (0, str(built.digest))
    assert result["volumes"] == {one.host: "ok" for one in registries}


@contextmanager
def silent() -> Iterator[str]:
    """A registry that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    held.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            for connection in held:
                connection.close()


def test_a_job_that_is_told_to_stop_ends_in_seconds_and_says_so(upstream: Upstream) -> None:
    name = upstream.push(multi_platform("volumes"), "team/app", "1")
    with silent() as host, job("--image", name, "--plain-http", upstream.host, "--target", f"http://{host}") as running:
        deadline = time.monotonic() + 30
        while not upstream.count("GET", "/manifests/") and time.monotonic() < deadline:
            time.sleep(0.05)
        running.send_signal(signal.SIGTERM)
        told = time.monotonic()
        result = json.loads(running.communicate(timeout=30)[0])
    assert time.monotonic() - told < 15
    assert (running.returncode, result["reason"]) == (1, "Failed")
    assert "told to stop" in result["message"]


def test_a_copy_that_is_told_to_stop_names_nothing(registries: tuple[Upstream, Upstream], client: Client) -> None:
    source, stop = MemorySource(), threading.Event()
    reference = source.add(multi_platform("volumes", layer_size=20_000), NAME)
    source.on_piece = lambda _digest, position: stop.set() if position else None
    volumes = targets(client, registries[0].host)
    with pytest.raises(Stopped, match="told to stop"):
        copy_to_volumes(reference, source, volumes, CopyOptions(stop=stop), LogLines(), Waits(pause=stop.wait))
    with pytest.raises(NotFound):
        client.head(Reference.parse(f"{registries[0].host}/reg__5000/team/app:1"))


def copied(result: "subprocess.Popen[str]") -> dict[str, object]:
    found: dict[str, object] = json.loads(result.communicate(timeout=60)[0])
    return found


def test_what_a_volume_has_is_adopted_without_a_word_to_its_source_and_fills_the_others(
    upstream: Upstream, registries: tuple[Upstream, Upstream]
) -> None:
    built = multi_platform("adopted")
    name = upstream.push(built, "team/app", "1")
    first, second = (("--target", f"http://{one.host}") for one in registries)
    words = ("--image", name, "--plain-http", upstream.host, "--adopt")
    with job(*words, *first) as running:
        assert copied(running)["digest"] == str(built.digest), "where no volume has it, it is copied as ever"
    upstream.push(multi_platform("moved"), "team/app", "1")
    upstream.stop()
    with job(*words, *second, *first) as running:
        result = copied(running)
    assert (running.returncode, result["digest"]) == (0, str(built.digest))
    assert result["volumes"] == {one.host: "ok" for one in registries}
    with job(*words, "--platform", "linux/s390x", *first) as running:
        assert copied(running)["reason"] == "Unreachable", "a platform that is not there is asked for"


def test_an_image_of_which_a_part_is_lost_is_not_adopted(
    upstream: Upstream, registries: tuple[Upstream, Upstream], client: Client
) -> None:
    built = multi_platform("lost")
    name = upstream.push(built, "team/app", "1")
    target = RegistryTarget(client, registries[0].host)
    reference = Reference.parse(name)
    assert holding(reference, [target], frozenset()) is None
    copy_to_volumes(reference, client, [target], CopyOptions(), LogLines(), NO_WAITS)
    assert holding(reference, [target], frozenset()) is target
    assert holding(replace(reference, tag="2"), [target], frozenset()) is None
    child = next(digest for digest in built.manifests if digest != built.digest)
    place = target.stored  # the registry itself forgets a platform
    assert place.manifest(reference.with_digest(child)).digest == child
    client.delete(Reference(registries[0].host, f"{upstream.host.replace(':', '__')}/team/app", None, child))
    assert holding(reference, [target], frozenset()) is None
