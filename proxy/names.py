"""Where hosts are, whether the cluster's DNS is up or not.

The node's resolver is asked for what is outside, as containerd asks it. Names in the cluster are asked of the cluster's
DNS ahead of need and again and again; what it said last counts while it is silent, as a Service keeps its address for
life. What it has never said is looked up in the variables that kubelet gives a container for each Service beside it.
"""

import argparse
import ipaddress
import logging
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from proxy.cluster_dns import ClusterDNS
from proxy.dns import NotTold

EVERY = 30.0
"""Seconds after which the cluster's DNS is asked again for all names that were asked for."""
_SILENT = 5.0
"""Seconds for which nobody waits for a DNS that did not answer."""
_MOST = 64
_SEARCHED = 5
"""A name with so many dots is whole, as in pods (`ndots`)."""
_log = logging.getLogger("kuik.names")


@dataclass(frozen=True, slots=True)
class Inside:
    """Names in a cluster with this `domain`, seen from a `namespace` whose Services `variables` tell of."""

    domain: str
    namespace: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)

    def holds(self, name: str) -> bool:
        """Whether a name can be in the cluster alone."""
        return name.endswith((".svc", f".{self.domain}"))

    def candidates(self, name: str) -> tuple[str, ...]:
        """The full names that a name may stand for, in the order in which a pod's resolver tries them."""
        if name.endswith(f".{self.domain}"):
            return (name,)
        if name.endswith(".svc"):
            return (f"{name}.{self.domain}",)
        if name.count(".") >= _SEARCHED:
            return (name,)
        own = (f"{name}.{self.namespace}.svc.{self.domain}",) if self.namespace else ()
        return (*own, f"{name}.svc.{self.domain}", f"{name}.{self.domain}", name)

    def told(self, name: str) -> str:
        """The address of a Service as kubelet told it when the container began; empty where it told none."""
        service, _, rest = name.partition(".")
        if rest not in (f"{self.namespace}.svc", f"{self.namespace}.svc.{self.domain}"):
            return ""
        address = self.variables.get(f"{service.upper().replace('-', '_')}_SERVICE_HOST", "")
        return address if _is_address(address) else ""


Ask = Callable[[str], tuple[str, ...]]
"""The addresses that the cluster's DNS has for a full name; raises NotTold."""
Resolve = Callable[[str], Sequence[str]]
"""The addresses that the node's resolver has for a name, one at least; raises `socket.gaierror`."""


def by_node(name: str) -> Sequence[str]:
    """What the node's resolver says."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise socket.gaierror(socket.EAI_NONAME, "this is not the name of a host") from None
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Names:
    """The addresses of a host when called, one at least; raises `socket.gaierror`. Threads share it.

    `own` are hosts whose addresses are wanted before anybody asks for them.
    """

    def __init__(
        self,
        inside: Inside,
        ask: Ask,
        own: Iterable[str] = (),
        node: Resolve = by_node,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._inside = inside
        self._ask = ask
        self._node = node
        self._clock = clock
        self._own = frozenset(map(_plain, own))
        self._said: dict[str, tuple[str, ...]] = {}
        self._silent_until = float("-inf")
        self._answers = True

    def __call__(self, host: str) -> Sequence[str]:
        """Where to connect to, in this order."""
        name = _plain(host)
        if _is_address(name):
            return (name,)
        said = self._said.get(name)
        if said:
            return said
        if not self._inside.holds(name):
            return self._outside(name)
        told = self._inside.told(name)
        if told and said is None:
            return (told,)
        return self._now(name) or ((told,) if told and self._silent() else self._node(name))

    def refresh(self) -> None:
        """Ask the cluster's DNS for all names that were asked for; what it does not tell stays as it was."""
        told, silence = False, ""
        for name in sorted(self._own.union(list(self._said)), key=lambda name: (name not in self._own, name)):
            try:
                self._remember(name, self._search(name))
                told = True
            except NotTold as error:
                silence = str(error)
        if told or silence:
            self._tell(answers=told, why=silence)

    def start(self) -> None:
        """Refresh now, and from now on; to be called in the process that connects."""
        threading.Thread(target=self._work, daemon=True, name="names").start()

    def _outside(self, name: str) -> Sequence[str]:
        """What the node knows, and else what the cluster's DNS makes of it, as for short names of Services."""
        try:
            return self._node(name)
        except socket.gaierror:
            if found := self._now(name):
                return found
            raise

    def _now(self, name: str) -> tuple[str, ...]:
        """What the cluster's DNS says when it is asked now; nothing where it was silent just before."""
        if self._silent():
            return ()
        try:
            found = self._search(name)
        except NotTold:
            self._silent_until = self._clock() + _SILENT
            return ()
        self._remember(name, found)
        return found

    def _silent(self) -> bool:
        return self._clock() < self._silent_until

    def _search(self, name: str) -> tuple[str, ...]:
        return next(filter(None, map(self._ask, self._inside.candidates(name))), ())

    def _remember(self, name: str, found: tuple[str, ...]) -> None:
        if name in self._own or (found and (name in self._said or len(self._said) < _MOST)):
            self._said[name] = found
        else:
            self._said.pop(name, None)

    def _work(self) -> None:
        while True:
            self.refresh()
            time.sleep(EVERY * random.uniform(0.8, 1.2))  # noqa: S311  nodes are not to ask all at once

    def _tell(self, *, answers: bool, why: str) -> None:
        if answers != self._answers:
            self._answers = answers
            if answers:
                _log.info("the cluster's DNS answers again")
            else:
                _log.warning("%s: addresses in the cluster stay as they are known", why)


def add_options(options: argparse.ArgumentParser) -> None:
    """The options that `of_options` reads."""
    options.add_argument(
        "--cluster-domain",
        metavar="DOMAIN",
        help="find names in the cluster without the node's resolver: the cluster's domain, such as cluster.local",
    )
    options.add_argument(
        "--cluster-dns",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="the cluster's DNS; without one it is looked for where clusters have it",
    )


def of_options(options: argparse.Namespace, own: Iterable[str] = ()) -> Names | None:
    """What finds hosts, by the options and this container's variables; None where the node's resolver does it all."""
    if not options.cluster_domain:
        return None
    domain = _plain(options.cluster_domain)
    inside = Inside(domain, os.environ.get("KUIK_NAMESPACE", ""), os.environ)
    dns = ClusterDNS(options.cluster_dns, os.environ.get("KUBERNETES_SERVICE_HOST", ""), domain)
    return Names(inside, dns.addresses, own)


def _plain(host: str) -> str:
    return host.removesuffix(".").lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
