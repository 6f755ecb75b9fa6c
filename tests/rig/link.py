"""A link of the network on which things go wrong: a loopback port that stays the same whatever happens behind it.

    with Link(upstream.host) as link:
        link.faulty(cut(1000), method="GET", path="/blobs/")    # each such request, until told otherwise
        link.refuse()                                           # as after the death of the server
        link.swallow()                                          # as behind a firewall that drops packets
        link.heal()

`swallow` needs no firewall: the port listens with a queue that is full, so that Linux drops the packets of further
connections, and those that were there before get no answer any more.
"""

import contextlib
import socket
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.rig.faulty import Exchange, Fault, Relay, Seen
from tests.rig.processes import free_port

_FILL = 4


class Link:
    """A relay to `upstream` (`host:port`) that can be broken in every way and mended again."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._port = free_port()
        self._closed: list[Relay] = []
        self._requests: list[Seen] = []
        self._dead: list[socket.socket] = []
        self._relay: Relay | None = None
        self.heal()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._port}"

    @property
    def requests(self) -> list[Seen]:
        """Every request so far."""
        return self._requests + (self._relay.requests if self._relay else [])

    def count(self, method: str = "", part: str = "") -> int:
        """How many requests of this method had `part` in their path."""
        return sum(1 for seen in self.requests if method in ("", seen.method) and part in seen.path)

    def heal(self, *, tls: tuple[Path, Path] | None = None) -> None:
        """Pass on what comes; with `tls` (certificate and key), over TLS. Connections that were there are broken."""
        self._end()
        self._relay = Relay(self._upstream, port=self._port, tls=tls)

    def faulty(self, fault: Fault, *, method: str = "", path: str = "") -> None:
        """Let each request that matches meet the fault; connections stay."""
        assert self._relay
        self._relay.rule(fault, method=method, path=path, times=None)

    def refuse(self) -> None:
        """Refuse connections, and break those that are there."""
        self._end()
        self._dead = [_bound(self._port)]  # bound, so that nobody else gets the port, and not listening

    def swallow(self) -> None:
        """Answer nothing any more, not even a connection attempt."""
        assert self._relay
        self._relay.fall_silent()
        self._dead = swallowing(self._port)

    def silent(self) -> None:
        """Accept connections, and answer nothing on them."""
        assert self._relay
        relay = self._relay
        relay.rule(lambda _: relay.wait_for_close(), times=None)

    def close(self) -> None:
        """End for good."""
        self._end()

    def _end(self) -> None:
        for one in self._dead:
            one.close()
        self._dead = []
        if self._relay:
            self._relay.close()
            self._requests += self._relay.requests
            self._relay = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def swallowing(port: int) -> list[socket.socket]:
    """Make the free port one whose connection attempts get no answer, for as long as these sockets are open."""
    server = _bound(port)
    server.listen(0)
    fillers = [socket.socket() for _ in range(_FILL)]
    for filler in fillers:
        filler.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            filler.connect(("127.0.0.1", port))
    return [*fillers, server]


def _bound(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    return bound


def at_rate(bytes_per_second: int) -> Fault:
    """Pass on, but slowly, the headers too."""

    def fault(exchange: Exchange) -> None:
        reply = exchange.fetch()
        head = sum(len(name) + len(value) + 4 for name, value in reply.headers.items()) + 60
        exchange.pause(head / bytes_per_second)
        exchange.begin(reply.status, {"Content-Length": str(len(reply.body)), **reply.headers})
        step = max(bytes_per_second // 20, 1)
        for at in range(0, len(reply.body), step):
            exchange.pause(step / bytes_per_second)
            exchange.write(reply.body[at : at + step])

    return fault
