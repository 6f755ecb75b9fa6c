"""The origin shield: upstream is asked once, whoever asks the shield, and what came is kept on a bounded disk."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from proxy.breaker import Breakers
from proxy.path import Kind
from proxy.shield.access import Access, AccessFacts
from proxy.shield.blobs import BYPASS, COLLAPSED, HIT, MISS, BlobTally, SpooledBlobs
from proxy.shield.facts import ImageFacts
from proxy.shield.freshness import DEFAULT_FRESHNESS
from proxy.shield.limits import Limits, Turns
from proxy.shield.manifests import SpooledManifests
from proxy.shield.naming import Manifests, Pinned, nothing_pinned
from proxy.shield.private import Private
from proxy.shield.proofs import Proofs, Secrets
from proxy.shield.remembered import Remembered
from proxy.shield.shares import Owned
from proxy.shield.spool import Spool, SpoolTally
from proxy.shield.upstreams import Mirrors, Upstreams
from proxy.sources.message import Answer, Request
from proxy.sources.upstream import Upstream
from registry.client import Client
from registry.errors import NotFound
from registry.reference import Reference

T = TypeVar("T", SpoolTally, BlobTally)
SOURCES = {HIT: "spool", MISS: "upstream", COLLAPSED: "collapsed", BYPASS: "bypass"}
"""Where an answer came from, by what is said of it in `Cache-Status`."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What there is to count of a shield: questions about manifests that joined another's, and tags told stale."""

    spool: SpoolTally
    blobs: BlobTally
    joined: int
    stale: int


@dataclass(frozen=True)
class Rules:
    """How upstream is asked. All of it is looked up for each request, so it may change at any time.

    `freshness` is how many seconds a tag is told without asking again, `limits` and `mirrors` are those of a registry,
    `pinned` is the digest that a tag has by policy, whatever upstream says. `remembered` is what tags named before; of
    private repositories nothing is remembered, since who may have them is to be proven anew.
    """

    freshness: Callable[[], float] = lambda: DEFAULT_FRESHNESS
    limits: Callable[[str], Limits] = lambda _host: Limits()
    mirrors: Mirrors | None = None
    pinned: Pinned = nothing_pinned
    remembered: Remembered | None = None


@dataclass(frozen=True)
class Opened:
    """What private repositories are asked for with: `client` has the pull secrets, `spool` is for what they open.

    `owners` is a folder beside the spool for the names of the hosts that its content came from. `mirrors` are asked
    with what the pull secrets have for them, and not those of the public.
    """

    client: Client
    spool: Spool
    owners: Path
    secrets: Secrets
    mirrors: Mirrors | None = None


class Shield:
    """A source in front of upstream registries; threads share it, and it starts threads only when it fetches.

    `client` has the credentials that upstream is asked with, `anonymous` has none (by default `client` itself is taken
    to have none). `clock` is monotonic, in seconds.
    """

    name = "shield"

    def __init__(
        self,
        client: Client,
        spool: Spool,
        rules: Rules = Rules(),
        clock: Callable[[], float] = time.monotonic,
        *,
        anonymous: Client | None = None,
        opened: Opened | None = None,
    ) -> None:
        self.spool = spool
        self.breakers = Breakers(clock)
        self.turns = Turns(self.breakers, rules.limits)
        upstreams = Upstreams(client, self.turns, rules.mirrors)
        self._upstream = Upstream(upstreams)
        self._blobs = SpooledBlobs(upstreams, spool, self.turns, clock)
        manifests = SpooledManifests(upstreams, spool, rules.freshness, clock, remembered=rules.remembered)
        self._manifests = Manifests(manifests, rules.pinned)
        self._access = AccessFacts(Upstreams(anonymous or client, self.turns, rules.mirrors), clock)
        self._private, proofs = None, None
        self._closed = opened.spool if opened else None
        if opened:
            self._private = self._half(opened, rules, clock)
            proofs = Proofs(self._access, self.turns, opened.secrets, opened.client.transport, clock)
        closed = self._private.manifests.spooled if self._private else None
        self._facts = ImageFacts(self._access, manifests, clock, proofs=proofs, closed=closed)

    def peer(self, _request: Request, /) -> str:
        """None for others' breakers: the shield in this process answers, and has breakers for each registry."""
        return ""

    def fetch(self, request: Request) -> Answer:
        """The answer from the spool, from memory or from upstream; raises RegistryError.

        What is asked for as public is asked for with `client` and answered from what it brought, and from nothing else.
        """
        answer = self._fetch(request)
        return replace(answer, source=SOURCES.get(answer.cache, "upstream"))

    def _fetch(self, request: Request) -> Answer:
        if request.route.private:
            if self._private is None:
                raise NotFound(f"{request.route}: this shield has no pull secrets")
            return self._private.fetch(request)
        digest = request.route.digest
        if request.kind is Kind.BLOB and digest:
            return self._blobs.fetch(request, digest)
        if request.kind is Kind.MANIFEST:
            return self._manifests.answer(request)
        return self._upstream.fetch(request)

    def access(self, reference: Reference) -> Access:
        """Whether anybody may pull the image; asked of upstream and remembered briefly."""
        found = self._access.of(reference)
        return Access.UNKNOWN if found is Access.ABSENT else found

    def facts(self, reference: Reference) -> Mapping[str, Any]:
        """What is known of the image now; what is not is asked of upstream meanwhile. It never waits."""
        return self._facts.of(reference)

    def tally(self) -> Tally:
        """The numbers now, of public and private together."""
        mine = self._tally(self.spool, self._blobs, self._manifests.spooled)
        if self._private is None or self._closed is None:
            return mine
        closed = self._tally(self._closed, self._private.blobs, self._private.manifests.spooled)
        spool, blobs = _summed(mine.spool, closed.spool), _summed(mine.blobs, closed.blobs)
        return Tally(spool, blobs, mine.joined + closed.joined, mine.stale + closed.stale)

    @staticmethod
    def _tally(spool: Spool, blobs: SpooledBlobs, manifests: SpooledManifests) -> Tally:
        return Tally(spool.tally(), blobs.tally(), manifests.joined, manifests.stale)

    def _half(self, opened: Opened, rules: Rules, clock: Callable[[], float]) -> Private:
        upstreams = Upstreams(opened.client, self.turns, opened.mirrors)
        shares = Owned(opened.spool, opened.owners)
        manifests = SpooledManifests(upstreams, opened.spool, rules.freshness, clock, shares)
        blobs = SpooledBlobs(upstreams, opened.spool, self.turns, clock)
        asked = Upstream(upstreams)
        return Private(blobs, Manifests(manifests, rules.pinned), asked, self._blobs, shares, opened.secrets)


def _summed(one: T, other: T) -> T:
    """Two tallies of the same kind as one."""
    return type(one)(*(getattr(one, name) + getattr(other, name) for name in type(one).__dataclass_fields__))
