"""The rows of the fault matrix."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.dataplane.matrix import Fault
from tests.rig.authority import Authority
from tests.rig.faulty import Exchange, Fault as RigFault, TokenServer, corrupt, cut, error, guarded, redirect, truncate
from tests.rig.link import Link, at_rate, swallowing
from tests.rig.processes import free_port

INSIDE = ("shield", "registry")


class UselessTokens(TokenServer):
    """Hands out tokens that nobody accepts."""

    def _grant(self, exchange: Exchange) -> None:
        super()._grant(exchange)
        self.valid.clear()


@contextmanager
def all_faults(authority: Authority) -> Iterator[list[Fault]]:
    """Every row, with the servers that some of them need."""
    tokens, nowhere = UselessTokens(), free_port()
    dead = swallowing(nowhere)
    try:
        yield _rows(tokens, f"http://127.0.0.1:{nowhere}{{path}}", authority.loopback(expired=True))
    finally:
        tokens.close()
        for one in dead:
            one.close()


def _rows(tokens: TokenServer, nowhere: str, expired: tuple[Path, Path]) -> list[Fault]:
    unavailable = error(503, "UNAVAILABLE")
    limited = error(429, "TOOMANYREQUESTS", headers={"Retry-After": "30"})

    def blobs(link: Link, fault: RigFault) -> None:
        link.faulty(fault, method="GET", path="/blobs/")

    return [
        Fault("connections are refused", Link.refuse),
        Fault("black hole: packets are dropped", Link.swallow),
        Fault("connections are accepted, requests never answered", Link.silent),
        Fault("503", lambda link: link.faulty(unavailable)),
        Fault("429 with Retry-After", lambda link: link.faulty(limited)),
        Fault("reset in mid-blob", lambda link: blobs(link, cut(100_000, reset=True))),
        Fault("wrong bytes in blobs", lambda link: blobs(link, corrupt()), retried=INSIDE),
        Fault("wrong bytes in manifests", lambda link: link.faulty(corrupt(), method="GET", path="/manifests/")),
        Fault("truncated blobs", lambda link: blobs(link, truncate()), retried=INSIDE),
        Fault("1 KB/s", lambda link: link.faulty(at_rate(1000))),
        Fault("expired TLS certificate", lambda link: link.heal(tls=expired), tls=True),
        Fault("401, whatever token is shown", lambda link: link.faulty(guarded(tokens))),
        Fault("redirect to a dead host", lambda link: link.faulty(redirect(nowhere))),
        Fault("full disk", places=INSIDE, full_disk=True),
        Fault("SIGKILL in mid-pull", places=("upstream", *INSIDE, "proxy"), kills=True),
    ]
