"""Proxies that are replaced one after another on one port: no connection is refused, and no pull breaks."""

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from proxy.handover import listening
from registry.digest import Digest
from tests.rig import faulty
from tests.rig.components import Component, proxy
from tests.rig.faulty import Exchange, Relay
from tests.rig.processes import wait_until

SMALL, LONG = b"small" * 1000, bytes(range(256)) * 4096
PIECES = 30
PATH = "/v2/quay.io/a/blobs/"


def throttled(exchange: Exchange) -> None:
    """LONG, over some three seconds."""
    exchange.begin(200, {"Content-Length": str(len(LONG))})
    piece = len(LONG) // PIECES
    for at in range(0, len(LONG), piece):
        exchange.write(LONG[at : at + piece])
        time.sleep(0.1)


@pytest.fixture
def registry() -> Iterator[Relay]:
    with Relay() as relay:
        relay.rule(throttled, path=str(Digest.of(LONG)), times=None)
        relay.rule(faulty.answer(200, SMALL), path=str(Digest.of(SMALL)), times=None)
        yield relay


@dataclass
class Puller:
    """Pulls one blob again and again, each time on a new connection, until told to end."""

    port: int
    content: bytes
    ended: threading.Event = field(default_factory=threading.Event)
    pulled: int = 0
    failures: list[str] = field(default_factory=list)

    def run(self) -> None:
        while not self.ended.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            try:
                connection.request("GET", PATH + str(Digest.of(self.content)))
                response = connection.getresponse()
                if (response.status, response.read()) != (200, self.content):
                    self.failures.append(f"{response.status}")
                self.pulled += 1
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
            finally:
                connection.close()


def ready(component: Component, times: int = 1) -> None:
    wait_until(lambda: component.log.read_text().count("serving on") >= times, "the proxy serves")


def gone(component: Component) -> None:
    wait_until(lambda: "leaving" in component.log.read_text(), "the proxy leaves its port")


def go_on(pullers: list[Puller]) -> None:
    """Wait until each has pulled a few times more."""
    wanted = [puller.pulled + 2 for puller in pullers]
    wait_until(lambda: all(one.pulled >= most for one, most in zip(pullers, wanted, strict=True)), "all pull", 40)


def test_nothing_is_refused_and_nothing_breaks_while_proxies_are_replaced(registry: Relay, tmp_path: Path) -> None:
    old = proxy(tmp_path / "0", "--registry", registry.url).start()
    ready(old)
    pullers = [Puller(old.port, content) for content in (SMALL, SMALL, SMALL, LONG, LONG)]
    threads = [threading.Thread(target=puller.run) for puller in pullers]
    for thread in threads:
        thread.start()
    leaving = []
    try:
        for number in range(1, 4):
            new = proxy(tmp_path / str(number), "--registry", registry.url)
            new.port = old.port
            new.start()
            ready(new)
            go_on([puller for puller in pullers if puller.content == SMALL])
            assert old.process
            old.process.terminate()
            gone(old)
            leaving.append(old)
            old = new
        go_on(pullers)
    finally:
        for puller in pullers:
            puller.ended.set()
        for thread in threads:
            thread.join(40)
    codes = [one.process.wait(20) for one in leaving if one.process]
    old.stop()
    assert [puller.failures for puller in pullers] == [[]] * len(pullers)
    assert codes == [0, 0, 0]


def test_the_queue_of_one_that_leaves_is_answered(registry: Relay, tmp_path: Path) -> None:
    """With no other to go to, whoever connected before it left is served."""
    component = proxy(tmp_path, "--registry", registry.url, "--threads", "1").start()
    ready(component)
    slow = http.client.HTTPConnection("127.0.0.1", component.port, timeout=30)
    slow.request("GET", PATH + str(Digest.of(LONG)))
    queued = [http.client.HTTPConnection("127.0.0.1", component.port, timeout=30) for _ in range(20)]
    for connection in queued:
        connection.request("GET", PATH + str(Digest.of(SMALL)))
    assert component.process
    component.process.terminate()
    assert slow.getresponse().read() == LONG
    assert [connection.getresponse().read() for connection in queued] == [SMALL] * 20
    assert component.process.wait(20) == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", component.port))


def test_an_address_that_the_machine_lacks_is_left_out_where_it_is_optional() -> None:
    """192.0.2.1 is nobody's (RFC 5737)."""
    (only,) = listening(["127.0.0.1:0"], optional=["192.0.2.1:0"])
    with socket.socket(fileno=only) as sock:
        assert sock.getsockname()[0] == "127.0.0.1"
    with pytest.raises(OSError, match="assign"):
        listening(["192.0.2.1:0"])
    with pytest.raises(ValueError, match="write it as"):
        listening(["7439"])
