"""What a stage sees beside its objects: an Observation, made of values that were gathered at the edge."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

from kube.types import Object
from registry.proxied import DEFAULT_PROXY
from registry.reference import Reference

T = TypeVar("T")

Group = Mapping[str, Object]
"""Objects of one kind by their key in the request: `namespace/name`, or `name`."""

Groups = Mapping[str, Group]
"""Objects by kind, as Metacontroller sends them: `{"Job.batch/v1": {"kuik-system/copy-x-1": {...}}}`."""

PUBLIC = "public"
PRIVATE = "private"


@dataclass(frozen=True, slots=True)
class Known(Generic[T]):
    """A fact that was read."""

    value: T


@dataclass(frozen=True, slots=True)
class Absent:
    """Nothing was asked, or there is nothing to know."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """The fact was asked for and could not be read. It never changes anything."""

    why: str = ""


Access = Known[str] | Absent | Unknown
"""Known("public"), Known("private"), or not known."""


def access_unknown(_reference: Reference) -> Access:
    """What the edge says of an image's access where it asks nobody."""
    return Absent()


Secret = tuple[str, str]
"""A pull secret: its namespace and its name."""


@dataclass(frozen=True, slots=True)
class Proof:
    """Who may pull an image upstream: PUBLIC, or PRIVATE with the pull secrets proven to open its repository."""

    visibility: str
    secrets: frozenset[Secret] = frozenset()


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What the shield knows of one image, from its memory.

    `upstream` is the digest that upstream has for the image's tag, or None where upstream says that it has none.
    """

    access: Known[Proof] | Absent | Unknown = Absent()
    upstream: Known[str | None] | Absent | Unknown = Absent()


@dataclass(frozen=True, slots=True)
class Saved:
    """What upstream registries were spared since `since`: bytes, and manifests got (what they count as pulls)."""

    bytes: int
    pulls: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Questions:
    """What the edge has to find out before a stage can decide: nothing that is not named here costs anything.

    `image` is asked of the shield, `pods` is a look at all pods themselves, `authority` the webhook's CA bundle,
    `lost` how many of the proxies' nodes are lost, `key` the key of capabilities,
    `saved` what the shields say was saved upstream.
    """

    image: str = ""
    pods: bool = False
    authority: bool = False
    lost: bool = False
    key: bool = False
    saved: bool = False


@dataclass(frozen=True, slots=True)
class JobSettings:
    """How copy Jobs are made. `sources` are the shield's URLs, `targets` the registries' that are written."""

    image: str = "kube-image-keeper:dev"
    namespace: str = "kuik-system"
    service_account: str = "kuik-copy"
    token_secret: str = "kuik-token"  # noqa: S105 - the name of a Secret, not its content
    registry_secret: str = "kuik-registry"  # noqa: S105 - likewise
    sources: tuple[str, ...] = ("http://kuik-shield:7440",)
    targets: tuple[str, ...] = ("http://kuik-registry:5000",)
    registry_credentials: str = ""
    """The name of a pull secret (kubernetes.io/dockerconfigjson) that opens the registries, where they are others than
    kuik's own."""
    deadline: int = 3600
    """Seconds that one attempt may take."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What is fixed while the process runs. `proxy` is the node proxy's `host:port` in image names."""

    proxy: str = DEFAULT_PROXY
    plain_http: frozenset[str] = frozenset()
    """Registry hosts that are asked without TLS; a loopback host is a node's own unless it is named here."""
    job: JobSettings = field(default_factory=JobSettings)
    metacontroller_namespace: str = "metacontroller"
    """Where Metacontroller runs: its pods are never rewritten."""
    volumes: tuple[str, ...] = ()
    """The registry's volumes, by the names that their keepers have; none: those that speak."""


@dataclass(frozen=True, slots=True)
class Observation:
    """All that a decision may depend on besides the parent and its children.

    `related` holds what the stage's customize asked for. `access` tells whether anyone may pull an image. `in_use` are
    the identities of the images that pods use, where the edge has looked at the pods themselves: Unknown freezes
    expiry, Absent says that nobody looked. `image` is about the image that a CachedImage names. `authority` is the CA
    bundle (PEM) by which the API server knows the admission webhook. `lost` is the number of nodes with a proxy that
    nobody can reach. `key` makes capabilities; it is empty where nobody asked for it or it cannot be read.
    `saved` is what all shields together say was saved upstream.
    """

    now: datetime
    settings: Settings = field(default_factory=Settings)
    related: Groups = field(default_factory=dict)
    access: Callable[[Reference], Access] = access_unknown
    in_use: Known[frozenset[str]] | Absent | Unknown = Absent()
    image: ImageFacts = ImageFacts()
    authority: Known[str] | Absent | Unknown = Absent()
    lost: Known[int] | Absent | Unknown = Absent()
    key: bytes = field(default=b"", repr=False)
    saved: Known[Saved] | Absent | Unknown = Absent()


@dataclass(frozen=True, slots=True)
class Context:
    """What the edge gathers before a request is read; see Observation for the fields."""

    now: datetime
    settings: Settings = field(default_factory=Settings)
    access: Callable[[Reference], Access] = access_unknown
    in_use: Known[frozenset[str]] | Absent | Unknown = Absent()
    image: ImageFacts = ImageFacts()
    authority: Known[str] | Absent | Unknown = Absent()
    lost: Known[int] | Absent | Unknown = Absent()
    key: bytes = field(default=b"", repr=False)
    saved: Known[Saved] | Absent | Unknown = Absent()

    def observe(self, related: Groups) -> Observation:
        """The observation of a request that came with these related objects."""
        seen = (self.access, self.in_use, self.image, self.authority, self.lost, self.key, self.saved)
        return Observation(self.now, self.settings, related, *seen)


Gather = Callable[[Questions, Context], Context]
"""The edge: adds to a context what was asked for. What it cannot find out it says is Unknown; it never raises."""
