"""What a diagnosis rests on: objects as the API server has them, and its answers to things that were tried."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from kube.types import Object

NAMESPACE_OF_TRIES = "default"


@dataclass(frozen=True, slots=True)
class Unseen:
    """What could not be read, and why."""

    why: str


@dataclass(frozen=True, slots=True)
class Try:
    """A pod that was sent to be made and not kept (dry run). `pod` is what would have been made; None where it was
    refused, for the reason `refusal`."""

    pod: Object | None = None
    refusal: str = ""


Objects = Sequence[Object] | Unseen


@dataclass(frozen=True, slots=True)
class Tries:
    """Pods in an ordinary namespace, and one in kuik's.

    `usual` has an image that everybody knows, `proxied` one that is named through the node proxy, `cached` an image
    that is in the cache (None where none is), `host` shares its node's network, as the node proxy does. `called` tells
    whether admission was asked about `cached`.
    """

    namespace: str
    usual: Try | Unseen
    proxied: Try | Unseen
    host: Try | Unseen
    cached: Try | Unseen | None = None
    called: bool | Unseen = Unseen("nobody looked")


@dataclass(frozen=True, slots=True)
class Cluster:
    """One look at a cluster, at `now` by the clock of this machine.

    `kinds` are the custom kinds that it knows, by `<plural>.<group>`. `rights` says of each thing that Metacontroller
    has to be allowed whether it is. `installed` is False where there is no ImageCache kind yet.
    """

    now: datetime
    namespace: str
    tries: Tries
    kinds: frozenset[str] | Unseen = frozenset()
    image_cache: Object | Unseen | None = None
    webhook: Object | Unseen | None = None
    nodes: Objects = ()
    proxies: Objects = ()
    daemon_sets: Objects = ()
    pods: Objects = ()
    """All pods of the cluster."""
    leases: Objects = ()
    """The nodes' heartbeats."""
    certificate: str | Unseen = Unseen("nobody looked")
    """What the webhook serves, in PEM."""
    rights: Mapping[str, bool] | Unseen = field(default_factory=dict)

    @property
    def installed(self) -> bool:
        return not isinstance(self.kinds, Unseen) and "imagecaches.kuik.dev" in self.kinds
