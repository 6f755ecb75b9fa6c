"""The cluster's own DNS, asked by its address: a pod's file of resolvers names the node's, for all that is outside.

Where the cluster's is, no such pod is told. Unless an option says it, it is looked for where installers of clusters put
it, and believed once it knows the address of the API's Service, which every pod is told.
"""

import ipaddress
import threading
from collections.abc import Callable, Sequence

from proxy.dns import NotTold, ask

_SECONDS = 1.0
_GUESSED = 0.5
_PLACES = (9, 2)
"""How far behind the API's Service, the first one, installers put it: nearly all, and Kubespray."""
_ON_NODES = ("169.254.20.10", "169.254.25.10")
"""Where a node's own cache of it is, as NodeLocal DNSCache and Kubespray have it."""

Ask = Callable[[str, str, float], tuple[str, ...]]
"""The addresses that a server knows for a name, within seconds; raises NotTold."""


def guesses(api: str) -> tuple[str, ...]:
    """Where the cluster's DNS may be, by the address of the API's Service; nowhere where that is no address."""
    try:
        first = ipaddress.ip_address(api)
    except ValueError:
        return ()
    near = tuple(str(first + place) for place in _PLACES)
    return near + _ON_NODES if first.version == 4 else near


class ClusterDNS:
    """Answers of the cluster's DNS at `servers`, or where it is found; threads share it.

    `api` is the address of the API's Service, `domain` the cluster's (`cluster.local`).
    """

    def __init__(self, servers: Sequence[str], api: str, domain: str, ask: Ask = ask) -> None:
        self._servers = tuple(servers)
        self._api = api
        self._domain = domain
        self._ask = ask
        self._lock = threading.Lock()

    def addresses(self, name: str) -> tuple[str, ...]:
        """The addresses of a full name, none where there is no such name; raises NotTold."""
        for server in self._servers or self._find():
            try:
                return self._ask(server, name, _SECONDS)
            except NotTold:
                continue
        raise NotTold("the cluster's DNS does not answer")

    def _find(self) -> tuple[str, ...]:
        with self._lock:
            if not self._servers:
                self._servers = next(((one,) for one in guesses(self._api) if self._is_it(one)), ())
            return self._servers

    def _is_it(self, server: str) -> bool:
        try:
            return self._api in self._ask(server, f"kubernetes.default.svc.{self._domain}", _GUESSED)
        except NotTold:
            return False
