"""A peer that sends its headers byte by byte holds nobody: they have to come in time in all."""

import contextlib
import itertools
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from registry.hosts import HostSettings
from registry.response import TimedOut
from registry.timely import TimelyResponse
from registry.transport import BROKEN, pool
from tests.rig.authority import Authority
from tests.rig.reader import everything_plain, transport

pytestmark = pytest.mark.timeout(60)  # without a deadline they never end
IN_ALL, EACH = 0.5, 0.02
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"


def status_line() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 "
    yield from itertools.repeat(b"O")


def one_header() -> Iterator[bytes]:
    yield OK
    yield b"X-Long: "
    yield from itertools.repeat(b"x")


def many_headers() -> Iterator[bytes]:
    yield OK
    for number in itertools.count():
        yield f"X-{number}: y\r\n".encode()


def continues() -> Iterator[bytes]:
    yield from itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n")


DRIPS = [status_line, one_header, many_headers, continues]


@contextmanager
def dripping(pieces: Iterable[bytes], context: ssl.SSLContext | None = None) -> Iterator[str]:
    """A server that sends one client these pieces, with a pause after each; gives its `host:port`."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            sock = listener.accept()[0]
            with closing(context.wrap_socket(sock, server_side=True) if context else sock) as client:
                for piece in pieces:
                    client.sendall(piece)
                    time.sleep(EACH)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"127.0.0.1:{listener.getsockname()[1]}"
    listener.close()
    thread.join(20)
    assert not thread.is_alive(), "the connection is closed"


@pytest.mark.parametrize("drip", DRIPS)
def test_headers_that_drip_are_not_waited_for(drip: Callable[[], Iterator[bytes]]) -> None:
    with dripping(drip()) as host, pytest.raises(TimedOut, match="in time"):
        transport(read=IN_ALL).send("GET", host, "/v2/")


def test_nor_over_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority.loopback())
    trusting = transport(lambda _host: HostSettings(ca_file=authority.bundle), read=IN_ALL)
    with dripping(one_header(), context) as host, pytest.raises(TimedOut, match="in time"):
        trusting.send("GET", host, "/v2/")


@pytest.mark.parametrize("plain", [True, False])
def test_nor_of_an_egress_proxy(*, plain: bool) -> None:
    with dripping(one_header()) as proxy:
        through = transport(lambda _host: HostSettings(plain, egress=f"http://{proxy}"))
        with pytest.raises(TimedOut, match="in time"):
            through.send("GET", "registry.example", "/v2/", patience=IN_ALL)


def test_nor_of_an_object_storage() -> None:
    connections = pool(5.0, IN_ALL)
    with dripping(one_header()) as host, pytest.raises(BROKEN):
        connections.request("GET", f"http://{host}/bucket", retries=False)


def test_the_shorter_patience_of_a_request_counts() -> None:
    with dripping(one_header()) as host, pytest.raises(TimedOut):
        transport(everything_plain, read=3600.0).send("GET", host, "/v2/", patience=IN_ALL)


def test_a_body_is_waited_for_as_ever() -> None:
    here, there = socket.socketpair()
    with closing(here), closing(there):
        here.settimeout(20.0)
        there.sendall(OK[:20])
        answer = TimelyResponse(here)
        there.sendall(OK[20:] + b"\r\nab")
        answer.begin()
        assert here.gettimeout() == 20.0
        assert answer.read() == b"ab"


def test_who_goes_on_with_the_socket_has_its_whole_timeout() -> None:
    here, there = socket.socketpair()
    with closing(here), closing(there):
        here.settimeout(20.0)
        there.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        answer = TimelyResponse(here)
        assert answer._read_status()[1] == 200  # type: ignore[attr-defined]  # as http.client does after CONNECT
        answer.close()
        assert here.gettimeout() == 20.0
        there.sendall(b"x")
        assert here.recv(1) == b"x", "the socket is open"
