"""The rows of the fault matrix."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.rig.authority import Authority
from tests.rig.faulty import Exchange, TokenServer, corrupt, cut, error, guarded, redirect, shorten
from tests.rig.link import Link, at_rate, swallowing
from tests.rig.processes import free_port

LINKS = ("upstream", "shield", "registry")
INSIDE = ("shield", "registry")


class UselessTokens(TokenServer):
    """Hands out tokens that nobody accepts."""

    def _grant(self, exchange: Exchange) -> None:
        super()._grant(exchange)
        self.valid.clear()


@dataclass(frozen=True)
class Props:
    """What some faults need besides a link: `nowhere` is the URL of a host that answers nothing."""

    tokens: TokenServer
    nowhere: str
    expired: tuple[Path, Path]


@contextmanager
def props(authority: Authority) -> Iterator[Props]:
    """The servers behind some faults."""
    port = free_port()
    tokens, dead = UselessTokens(), swallowing(port)
    try:
        yield Props(tokens, f"http://127.0.0.1:{port}{{path}}", authority.loopback(expired=True))
    finally:
        tokens.close()
        for one in dead:
            one.close()


def _nothing(_link: Link, _props: Props) -> None:
    """What is broken is not a link."""


@dataclass(frozen=True)
class Fault:
    """One way to fail. `inject` breaks a link, after which pulls begin; a fault that `kills` does it in mid-pull.

    `retried` names the places where kubelet's one retry is needed, for a reason that the page tells.
    """

    name: str
    inject: Callable[[Link, Props], None] = _nothing
    places: Sequence[str] = LINKS
    tls: bool = False
    kills: bool = False
    full_disk: bool = False
    retried: Sequence[str] = ()


ROWS = (
    Fault("connections are refused", lambda link, _: link.refuse()),
    Fault("black hole: packets are dropped", lambda link, _: link.swallow()),
    Fault("connections are accepted, requests never answered", lambda link, _: link.silent()),
    Fault("503", lambda link, _: link.faulty(error(503, "UNAVAILABLE"))),
    Fault(
        "429 with Retry-After",
        lambda link, _: link.faulty(error(429, "TOOMANYREQUESTS", headers={"Retry-After": "30"})),
    ),
    Fault("reset in mid-blob", lambda link, _: link.faulty(cut(100_000, reset=True), method="GET", path="/blobs/")),
    Fault(
        "wrong bytes in blobs",
        lambda link, _: link.faulty(corrupt(), method="GET", path="/blobs/"),
        retried=INSIDE,
    ),
    Fault("wrong bytes in manifests", lambda link, _: link.faulty(corrupt(), method="GET", path="/manifests/")),
    Fault("truncated blobs", lambda link, _: link.faulty(shorten(), method="GET", path="/blobs/"), retried=INSIDE),
    Fault("1 KB/s", lambda link, _: link.faulty(at_rate(1000))),
    Fault("expired TLS certificate", lambda link, props: link.heal(tls=props.expired), tls=True),
    Fault("401, whatever token is shown", lambda link, props: link.faulty(guarded(props.tokens))),
    Fault("redirect to a dead host", lambda link, props: link.faulty(redirect(props.nowhere))),
    Fault("full disk", places=INSIDE, full_disk=True),
    Fault("SIGKILL in mid-pull", places=(*LINKS, "proxy"), kills=True),
)
