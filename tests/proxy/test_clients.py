"""Clients that hold a thread for nothing are cut off; those that are only slow never are."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from proxy.clients import Clients
from tests.rig.components import ROOT
from tests.rig.processes import free_port, listening, stop, wait_until

PROGRAM = """
import sys
from proxy import clients
from proxy.server import Server
clients.STALLED, clients.HEADERS, clients.LOOK_EVERY = 2.0, 2.0, 0.2
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", str(len(BODY) * PIECES))])
    return (BODY for _ in range(PIECES))
PIECES = 400
BODY = b"x" * 65536
Server([f"127.0.0.1:{sys.argv[1]}"], lambda: app, threads=2).run()
"""
WHOLE = 400 * 65536


@dataclass(eq=False)
class Pair:
    """A connection over TCP: `sock` is the server's end."""

    sock: socket.socket
    client: socket.socket
    now: float = 0.0
    cut: list[int] = field(default_factory=list)

    def fill(self) -> None:
        """All that both ends hold."""
        self.sock.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                self.sock.send(b"x" * 65536)

    def drain(self, count: int) -> None:
        """Read so many bytes, and let the kernel tell the other end."""
        while count:
            count -= len(self.client.recv(min(count, 1 << 20)))
        time.sleep(0.3)


@pytest.fixture
def pair() -> Iterator[Pair]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        sock, _ = server.accept()
        yield Pair(sock, client)
        client.close()
        sock.close()


def test_who_takes_nothing_is_cut_off_after_a_while(pair: Pair) -> None:
    clients = Clients(100, 30, lambda: pair.now)
    clients.comes(pair)
    clients.asks(pair)
    pair.fill()
    for pair.now, cut in ((1, 0), (100, 0), (101, 1)):
        assert clients.look() == cut
    with pytest.raises(OSError, match=r"[Bb]roken pipe"):
        pair.sock.send(b"x")


def test_who_takes_a_little_now_and_then_is_not(pair: Pair) -> None:
    clients = Clients(100, 30, lambda: pair.now)
    clients.comes(pair)
    clients.asks(pair)
    for _ in range(4):
        pair.fill()
        assert clients.look() == 0
        pair.now += 99
        pair.drain(3 << 20)


def test_who_waits_for_us_is_not(pair: Pair) -> None:
    clients = Clients(100, 30, lambda: pair.now)
    clients.comes(pair)
    clients.asks(pair)
    pair.now = 10_000
    assert clients.look() == 0
    clients.goes(pair)
    assert clients.look() == 0


def test_headers_have_a_time_to_be_there(pair: Pair) -> None:
    clients = Clients(100, 30, lambda: pair.now)
    clients.comes(pair)
    pair.now = 29
    assert clients.look() == 0
    pair.now = 30
    assert clients.look() == 1
    assert pair.sock.recv(1) == b""


@pytest.fixture
def server() -> Iterator[int]:
    """Two threads, and clients that may hold them for two seconds."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(port)], cwd=ROOT)
    wait_until(lambda: listening(port), "the server listens", 30)
    yield port
    stop(process)


def ask(port: int, *, text: bytes = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    client.settimeout(30)
    client.connect(("127.0.0.1", port))
    client.sendall(text)
    return client


def read(client: socket.socket, pause: float = 0.0) -> int:
    got = 0
    while piece := client.recv(1 << 20):
        got += len(piece)
        time.sleep(pause)
    return got


def test_threads_that_are_held_are_free_again(server: int) -> None:
    stalled = [ask(server), ask(server)]
    assert read(ask(server)) > WHOLE
    assert all(read(one) < WHOLE for one in stalled)
    endless = [ask(server, text=b"GET / HTTP/1.1\r\nX: ") for _ in range(2)]

    def trickle() -> bool:
        for one in endless:
            with suppress(OSError):
                one.send(b"y")
        return False

    other = ask(server)
    other.settimeout(0.2)
    for _ in range(150):
        trickle()
        with suppress(TimeoutError):
            assert other.recv(1)
            break
    else:
        raise AssertionError("headers without end hold all threads")


def test_a_slow_client_gets_everything(server: int) -> None:
    slow = ask(server)
    begun = time.monotonic()
    got = 0
    while time.monotonic() - begun < 5:
        got += len(slow.recv(16384))
        time.sleep(0.05)
    assert got + read(slow) > WHOLE
