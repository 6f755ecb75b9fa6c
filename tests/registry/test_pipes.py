"""Blobs that go from one registry to another past Python: the same bytes arrive, whoever breaks off or speaks TLS."""

import hashlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry import pipes
from registry.client import Client
from registry.copy import copy
from registry.digest import Digest
from registry.pipes import Piped, piped
from registry.reference import Reference
from registry.response import Response
from registry.targets import RegistryTarget
from registry.transport import NO_RETRIES, HostSettings, Retries, Timeouts, Transport
from tests.rig import faulty
from tests.rig.faulty import Relay
from tests.rig.images import BuiltImage, image
from tests.rig.relay import Relay as Connections
from tests.rig.upstream import Upstream

CONTENT = bytes(range(256)) * 40_000
PATH = "/v2/a/blobs/uploads/1"
BUILT = image("piped", layers=2, layer_size=6_000_000)


@pytest.fixture
def client() -> Client:
    retries = Retries(sleep=lambda _: None)
    return Client(Transport(lambda _: HostSettings(plain_http=True), retries=retries))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Upstream]:
    registry = Upstream(tmp_path / "store").start()
    yield registry
    registry.stop()


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes that went into a socket out of a pipe."""
    counts: list[int] = []
    into = Piped.into

    def seen(self: Piped, sock: socket.socket) -> None:
        into(self, sock)
        counts.append(len(self))

    monkeypatch.setattr(Piped, "into", seen)
    return counts


class Taker:
    """A server that reads nothing of one PUT's body before `begin` is set, then all of it; over TLS with `context`."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.begin = threading.Event()
        self.sha256 = ""
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        self._context = context
        self.host = f"127.0.0.1:{self._server.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._server.accept()
        if self._context:
            connection = self._context.wrap_socket(connection, server_side=True)
        with connection, connection.makefile("rwb") as stream:
            length = 0
            while line := stream.readline().strip():
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            self.begin.wait(60)
            self.sha256 = hashlib.sha256(stream.read(length)).hexdigest()
            stream.write(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")

    def close(self) -> None:
        self.begin.set()
        self._server.close()
        self._thread.join(60)


class Body:
    """What a source sends, as the body of a request."""

    def __init__(self, client: Client, relay: Relay) -> None:
        self._stream = client.open_blob(Reference.parse(f"{relay.host}/a:1"), Digest.of(CONTENT))

    def __len__(self) -> int:
        return len(CONTENT)

    def __iter__(self) -> Iterator[bytes | Piped]:
        yield from piped(self._stream)


@pytest.fixture
def relay() -> Iterator[Relay]:
    with Relay() as behind, Relay(behind.host) as relay:
        behind.rule(faulty.answer(200, CONTENT), times=None)
        yield relay


def arrived(store: Upstream, built: BuiltImage) -> bool:
    client = Client(Transport(lambda _: HostSettings(plain_http=True)))
    place = Reference.parse(f"{store.host}/x/y:1")
    for digest, content in built.blobs.items():
        with client.open_blob(place, digest) as stream:
            if b"".join(stream) != content:
                return False
    return True


def target(client: Client, host: str, monkeypatch: pytest.MonkeyPatch) -> RegistryTarget:
    monkeypatch.setattr("registry.targets.inside", lambda *_, **__: Reference.parse(f"{host}/x/y:1"))
    return RegistryTarget(client, host)


def test_layers_pass_python_by(
    upstream: Upstream, store: Upstream, client: Client, moved: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = Reference.parse(upstream.push(BUILT, "team/app", "1"))
    copied = copy(reference, client, target(client, store.host, monkeypatch))
    assert copied.digest == BUILT.digest
    assert arrived(store, BUILT)
    assert sum(moved) > 0.9 * sum(map(len, BUILT.blobs.values()))
    assert copied.fetched_bytes == copied.size


def test_a_source_that_breaks_off_is_gone_on_with(
    upstream: Upstream, store: Upstream, client: Client, moved: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Relay(upstream.host) as relay:
        upstream.push(BUILT, "team/app", "1")
        relay.rule(faulty.cut(3_000_000), method="GET", path="/blobs/", times=2)
        reference = Reference.parse(f"{relay.host}/team/app:1")
        copied = copy(reference, client, target(client, store.host, monkeypatch))
        ranges = [seen.headers["Range"] for seen in relay.requests if "Range" in seen.headers]
    assert arrived(store, BUILT)
    assert moved
    assert set(ranges) == {"bytes=3000000-"}
    assert copied.fetched_bytes == copied.size


def test_a_target_that_breaks_off_is_gone_on_with(
    upstream: Upstream, store: Upstream, moved: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    built = image("broken", layers=1, layer_size=24 << 20)
    reference, relay = Reference.parse(upstream.push(built, "team/app", "1")), Connections(store.port)
    into, cuts = Piped.into, [8 << 20, 16 << 20]

    def cut(self: Piped, sock: socket.socket) -> None:
        if cuts and sum(moved) > cuts[0]:
            cuts.pop(0)
            relay.cut()
        into(self, sock)

    monkeypatch.setattr(Piped, "into", cut)
    retries = Retries(sleep=lambda _: relay.mend())
    client = Client(Transport(lambda _: HostSettings(plain_http=True), retries=retries))
    copied = copy(reference, client, target(client, f"127.0.0.1:{relay.port}", monkeypatch))
    relay.close()
    assert not cuts
    assert copied.digest == built.digest
    assert arrived(store, built)


def test_without_splice_the_same_bytes_go_through_python(
    upstream: Upstream, store: Upstream, client: Client, moved: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipes, "splices", lambda: False)
    reference = Reference.parse(upstream.push(BUILT, "team/app", "1"))
    copy(reference, client, target(client, store.host, monkeypatch))
    assert arrived(store, BUILT)
    assert not moved


def test_what_is_in_a_pipe_reaches_a_target_that_speaks_tls(client: Client, relay: Relay, tmp_path: Path) -> None:
    pem, key = faulty.certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    taker = Taker(context)
    taker.begin.set()
    secure = Transport(lambda _: HostSettings(ca_file=pem), retries=NO_RETRIES)
    with secure.send("PUT", taker.host, PATH, body=Body(client, relay)) as response:
        assert response.status == 201
    assert taker.sha256 == hashlib.sha256(CONTENT).hexdigest()
    taker.close()


@pytest.mark.parametrize("in_pipes", [True, False])
def test_a_target_may_take_nothing_for_longer_than_a_connection_takes(
    client: Client, relay: Relay, moved: list[int], *, in_pipes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one does whose disk is busy, or that hands a part on to an object storage."""
    monkeypatch.setattr(pipes, "splices", lambda: in_pipes)
    taker = Taker()
    patient = Transport(
        lambda _: HostSettings(plain_http=True), timeouts=Timeouts(connect=0.5, read=60), retries=NO_RETRIES
    )
    threading.Timer(1.5, taker.begin.set).start()
    with patient.send("PUT", taker.host, PATH, body=Body(client, relay)) as response:
        assert response.status == 201
    assert taker.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert bool(moved) == in_pipes
    taker.close()


def test_a_connection_serves_the_next_request_after_its_body_went_through_a_pipe(client: Client, relay: Relay) -> None:
    ports = set()
    for _ in range(3):
        with client.open_blob(Reference.parse(f"{relay.host}/a:1"), Digest.of(CONTENT)) as stream:
            got = b""
            for piece in stream.piped():
                got += piece if isinstance(piece, bytes) else b"".join(piece)
                response = stream._response
                if isinstance(response, Response) and (direct := response.direct()):
                    ports.add(direct.socket.getsockname())
            assert got == CONTENT
    assert len(ports) == 1
