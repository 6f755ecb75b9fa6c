"""Hosts that are found by other means than the machine's resolver: plain, by TLS, and through an egress proxy."""

import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from registry.errors import TLSFailure, Unreachable
from registry.transport import NO_RETRIES, HostSettings, Timeouts, Transport
from tests.rig.authority import Authority
from tests.rig.egress import EgressProxy
from tests.rig.processes import free_port

NAME = "kuik-shield-0.kuik-system.svc"
KNOWN = {NAME: ["127.0.0.1"], "squid.egress": ["127.0.0.1"], "127.0.0.1": ["127.0.0.1"]}


class Server(ThreadingHTTPServer):
    """Answers with the Host that it was asked as."""

    daemon_threads = True

    def __init__(self, certificate: tuple[Path, Path] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def host(self, name: str) -> str:
        return f"{name}:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        said = self.headers["Host"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server
        server.shutdown()


def addresses(name: str) -> Sequence[str]:
    if name not in KNOWN:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")
    return KNOWN[name]


def transport(settings: HostSettings = HostSettings(plain_http=True)) -> Transport:  # noqa: B008  a frozen value
    patient = Timeouts(connect=30, read=30)
    return Transport(lambda _: settings, timeouts=patient, retries=NO_RETRIES, addresses=addresses)


def test_a_host_is_asked_by_its_name_at_the_address_that_is_known(server: Server) -> None:
    sender = transport()
    for _ in range(2):
        assert sender.send("GET", server.host(NAME), "/").read(1000).decode() == server.host(NAME)


def test_a_name_that_is_not_known_is_told_as_such() -> None:
    with pytest.raises(Unreachable, match=r"the name of other\.svc:1 cannot be resolved"):
        transport().send("GET", "other.svc:1", "/")


def test_the_next_address_is_tried_where_one_does_not_answer(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens at the first on that port."""
    monkeypatch.setitem(KNOWN, NAME, ["127.0.0.2", "127.0.0.1"])
    assert transport().send("GET", server.host(NAME), "/").status == 200
    closed = free_port()
    with pytest.raises(Unreachable, match="connection refused"):
        transport().send("GET", f"{NAME}:{closed}", "/")


def test_a_name_with_no_address_is_not_resolved_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KNOWN, NAME, [])
    with pytest.raises(Unreachable, match="cannot be resolved"):
        transport().send("GET", f"{NAME}:1", "/")


def test_a_certificate_is_checked_by_the_name(authority: Authority) -> None:
    settings = HostSettings(ca_file=authority.bundle)
    with Server(authority.issue(NAME)) as right:
        assert transport(settings).send("GET", right.host(NAME), "/").status == 200
        right.shutdown()
    with Server(authority.issue("127.0.0.1")) as wrong:
        with pytest.raises(TLSFailure):
            transport(settings).send("GET", wrong.host(NAME), "/")
        wrong.shutdown()


def test_an_egress_proxy_is_found_in_the_same_way(authority: Authority) -> None:
    with EgressProxy() as egress, Server(authority.loopback()) as server:
        url = egress.url.replace("127.0.0.1", "squid.egress")
        settings = HostSettings(ca_file=authority.bundle, egress=url)
        assert transport(settings).send("GET", server.host("127.0.0.1"), "/").status == 200
        assert egress.asked == [f"CONNECT {server.host('127.0.0.1')}"]
        server.shutdown()
