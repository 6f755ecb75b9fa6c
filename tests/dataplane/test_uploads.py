"""Uploads that break on their way into distribution: they go on where it has them, and end right or not at all."""

import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kuik.keeper.distribution import USER
from registry.client import Client
from registry.commons import Commons
from registry.credentials import Credentials
from registry.digest import Digest
from registry.errors import Corrupt, Unreachable
from registry.manifest import Descriptor
from registry.reference import Reference
from registry.retries import Retries
from registry.transport import Transport, host_settings
from registry.uploads import Uploads
from tests.dataplane.rig.distribution import WRITERS_TOKEN
from tests.dataplane.rig.registry import Registry, registry
from tests.rig.relay import Relay

MIB = 1 << 20
IN_FLIGHT = 8 * MIB
"""What sockets and the relay may hold, which was sent and never arrived."""
PART = 12 * MIB
"""What a writer on S3 holds besides, until it is a part there."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry(tmp_path_factory.mktemp("registry"), "folder") as found:
        yield found


@contextmanager
def relayed(running: Registry) -> Iterator[Relay]:
    relay = Relay(running.writer.port)
    yield relay
    relay.close()


@dataclass
class Source:
    """A blob, and what happens once so many bytes of it were sent in all."""

    content: bytes
    events: dict[int, Callable[[], None]] = field(default_factory=dict)
    sent: int = 0
    starts: list[int] = field(default_factory=list)

    @property
    def blob(self) -> Descriptor:
        return Descriptor("", Digest.of(self.content), len(self.content))

    @contextmanager
    def fetch(self, start: int) -> Iterator[Iterator[bytes]]:
        self.starts.append(start)
        yield self._pieces(start)

    def _pieces(self, start: int) -> Iterator[bytes]:
        for at in range(start, len(self.content), MIB):
            piece = self.content[at : at + MIB]
            self.sent += len(piece)
            yield piece
            for due in [mark for mark in self.events if mark <= self.sent]:
                self.events.pop(due)()


def source(seed: str, size: int = 40 * MIB) -> Source:
    return Source(random.Random(seed).randbytes(size))  # noqa: S311 - reproducible bytes


def uploads(port: int, sleep: Callable[[float], None], breaks: int = 5) -> tuple[Uploads, Client, Reference]:
    host = f"127.0.0.1:{port}"
    known = (Credentials(USER, WRITERS_TOKEN),)
    transport = Transport(host_settings([host]), retries=Retries(breaks=breaks, sleep=sleep))
    client = Client(transport, lambda _reference: known)
    return Uploads(client, Commons(client, gives=True)), client, Reference.parse(f"{host}/docker.io/library/app:1")


@pytest.mark.parametrize(("storage", "lost"), [("folder", IN_FLIGHT), ("s3", IN_FLIGHT + PART)], ids=["folder", "s3"])
def test_what_breaks_twice_goes_on_where_the_registry_has_it(tmp_path: Path, storage: str, lost: int) -> None:
    whole = source("breaks", 3 * lost + 16 * MIB)
    sure = lost + 4 * MIB  # of which the registry must have some
    with registry(tmp_path, storage, readers=0) as running, relayed(running) as relay:
        whole.events = {sure: relay.cut, 2 * sure: relay.cut}
        put, client, place = uploads(relay.port, lambda _seconds: relay.mend())
        put.put(place, whole.blob, whole.fetch)
        assert len(whole.starts) == 3
        assert 0 < whole.starts[1] < whole.starts[2]
        assert whole.sent <= whole.blob.size + 2 * lost
        with client.open_blob(place, whole.blob.digest) as stream:
            assert b"".join(stream) == whole.content


def test_a_later_attempt_goes_on_after_the_writer_was_killed(running: Registry) -> None:
    whole = source("killed")
    whole.events = {30 * MIB: running.writer.kill}
    put, client, place = uploads(running.writer.port, lambda _seconds: None)
    with pytest.raises(Unreachable):
        put.put(place, whole.blob, whole.fetch)
    running.writer.start()
    put.put(place, whole.blob, whole.fetch)
    assert client.has_blob(place, whole.blob.digest) == whole.blob.size
    assert whole.starts[0] == 0
    assert whole.starts[-1] > 0
    assert whole.sent <= whole.blob.size + IN_FLIGHT


def test_a_registry_that_forgot_the_upload_gets_the_whole_blob(running: Registry) -> None:
    whole = source("forgotten", 12 * MIB)

    def forget(_seconds: float) -> None:
        if running.writer.process is None:
            for found in (running.writer.folder.parent / "storage").rglob("_uploads"):
                shutil.rmtree(found)
            running.writer.start()

    whole.events = {10 * MIB: running.writer.kill}
    put, client, place = uploads(running.writer.port, forget)
    put.put(place, whole.blob, whole.fetch)
    assert whole.starts == [0, 0]
    assert client.has_blob(place, whole.blob.digest) == whole.blob.size


def test_a_rest_that_is_not_the_blobs_is_refused(running: Registry) -> None:
    whole = source("spoilt", 20 * MIB)
    blob = whole.blob
    with relayed(running) as relay:

        def spoil() -> None:
            whole.content = whole.content[:-1] + bytes([whole.content[-1] ^ 1])
            relay.cut()

        whole.events = {12 * MIB: spoil}
        put, client, place = uploads(relay.port, lambda _seconds: relay.mend())
        with pytest.raises(Corrupt):
            put.put(place, blob, whole.fetch)
        assert whole.starts[-1] == 0
        assert client.has_blob(place, blob.digest) is None


def test_a_source_that_breaks_is_not_asked_again_here(running: Registry) -> None:
    whole = source("source", 12 * MIB)

    def fails() -> None:
        raise Unreachable("upstream went away")

    whole.events = {10 * MIB: fails}
    put, client, place = uploads(running.writer.port, lambda _seconds: pytest.fail("no pause is due"))
    with pytest.raises(Unreachable, match="upstream went away"):
        put.put(place, whole.blob, whole.fetch)
    assert whole.starts == [0]
    put.put(place, whole.blob, whole.fetch)
    assert client.has_blob(place, whole.blob.digest) == whole.blob.size
