"""Bytes that pass Python by: counted exactly, whoever breaks off, and the connection is used again."""

import errno
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.outlet import ClientLeft, Outlet
from registry.errors import Unreachable
from registry.pipes import splices
from registry.response import Response, TimedOut
from registry.transport import NO_RETRIES, HostSettings, Timeouts, Transport
from tests.rig import faulty
from tests.rig.faulty import Relay

CONTENT = bytes(range(256)) * 20_000
FIRST = 64 * 1024


def plain(read: float) -> Transport:
    settings = HostSettings(plain_http=True)
    return Transport(lambda _: settings, timeouts=Timeouts(connect=5, read=read), retries=NO_RETRIES)


@pytest.fixture
def transport() -> Iterator[Transport]:
    transport = plain(read=20)
    yield transport
    transport.close()


@pytest.fixture
def relay() -> Iterator[Relay]:
    """In front of one that has CONTENT."""
    with Relay() as behind, Relay(behind.host) as relay:
        behind.rule(faulty.answer(200, CONTENT), times=None)
        yield relay


class Client:
    """The other end of a socket, reading until it ends."""

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair()
        self.got = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while piece := self.far.recv(1 << 20):
            self.got += piece

    def all(self) -> bytes:
        self.near.close()
        self._reader.join(20)
        self.far.close()
        return self.got


def begun(transport: Transport, relay: Relay) -> tuple[Response, bytes]:
    response = transport.send("GET", relay.host, "/v2/a/blobs/x")
    return response, next(response.pieces(FIRST))


def test_the_rest_passes_by_and_the_connection_serves_the_next_request(transport: Transport, relay: Relay) -> None:
    ports = set()
    for _ in range(3):
        response, first = begun(transport, relay)
        direct, client = response.direct(), Client()
        assert direct
        assert direct.left == len(CONTENT) - len(first)
        ports.add(direct.socket.getsockname())
        assert sum(Outlet(client.near).pass_on(direct)) == direct.left
        assert first + client.all() == CONTENT
        assert response.direct() is None
        response.close()
    assert len(ports) == 1


@pytest.mark.parametrize("reset", [False, True])
def test_what_was_counted_was_sent_and_no_more_when_the_source_breaks_off(
    transport: Transport, relay: Relay, *, reset: bool
) -> None:
    relay.rule(faulty.cut(3_000_000, reset=reset))
    response, first = begun(transport, relay)
    direct, client, counts = response.direct(), Client(), [len(first)]
    assert direct
    with pytest.raises(Unreachable):
        counts.extend(Outlet(client.near).pass_on(direct))
    assert first + client.all() == CONTENT[: sum(counts)]
    assert sum(counts) == 3_000_000 or reset
    response.close()


def test_silence_is_not_waited_for_longer_than_the_timeout(relay: Relay) -> None:
    relay.rule(faulty.hold(relay.closing, 1_000_000))
    transport = plain(read=0.5)
    response, _ = begun(transport, relay)
    direct, client = response.direct(), Client()
    assert direct
    with pytest.raises(TimedOut):
        list(Outlet(client.near).pass_on(direct))
    client.all()
    transport.close()


def test_a_client_that_goes_is_told_apart_from_a_source_that_breaks(transport: Transport, relay: Relay) -> None:
    response, _ = begun(transport, relay)
    direct, (near, far) = response.direct(), socket.socketpair()
    assert direct
    far.close()
    with pytest.raises(ClientLeft):
        list(Outlet(near).pass_on(direct))
    with pytest.raises(ClientLeft):
        Outlet(near).send(b"x")
    response.close()
    near.close()


def test_chunks_are_not_a_blob_s_bytes(transport: Transport, relay: Relay) -> None:
    relay.rule(faulty.chunked())
    response, _ = begun(transport, relay)
    assert response.direct() is None
    response.close()


def test_over_tls_the_socket_has_other_bytes(tmp_path: Path) -> None:
    pem, key = faulty.certificate(tmp_path)
    settings = HostSettings(ca_file=pem)
    with Relay(tls=(pem, key)) as relay:
        relay.rule(faulty.answer(200, CONTENT), times=None)
        response, _ = begun(Transport(lambda _: settings, retries=NO_RETRIES), relay)
        assert response.direct() is None
        response.close()


def test_a_system_without_splice_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert splices()
    splices.cache_clear()

    def none(*_: object) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr("os.splice", none)
    assert not splices()
    splices.cache_clear()
