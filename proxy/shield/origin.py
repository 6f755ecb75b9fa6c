"""The origin shield: upstream is asked once, whoever asks the shield, and what came is kept on a bounded disk."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from proxy.breaker import Breakers
from proxy.path import Kind
from proxy.shield.access import Access, AccessFacts
from proxy.shield.blobs import BYPASS, COLLAPSED, HIT, MISS, BlobTally, SpooledBlobs
from proxy.shield.facts import ImageFacts
from proxy.shield.freshness import DEFAULT_FRESHNESS
from proxy.shield.limits import Limits, Turns
from proxy.shield.manifests import SpooledManifests
from proxy.shield.spool import Spool, SpoolTally
from proxy.shield.upstreams import Mirrors, Upstreams
from proxy.sources.message import Answer, Request, manifest_answer
from proxy.sources.upstream import Upstream
from registry.client import Client
from registry.digest import Digest
from registry.errors import NotFound
from registry.reference import Reference

SOURCES = {HIT: "spool", MISS: "upstream", COLLAPSED: "collapsed", BYPASS: "bypass"}
"""Where an answer came from, by what is said of it in `Cache-Status`."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What there is to count of a shield: questions about manifests that joined another's, and tags told stale."""

    spool: SpoolTally
    blobs: BlobTally
    joined: int
    stale: int


def _nothing_pinned(_reference: Reference) -> Digest | None:
    return None


@dataclass(frozen=True)
class Rules:
    """How upstream is asked. All of it is looked up for each request, so it may change at any time.

    `freshness` is how many seconds a tag is told without asking again, `limits` and `mirrors` are those of a registry,
    `pinned` is the digest that a tag has by policy, whatever upstream says.
    """

    freshness: Callable[[], float] = lambda: DEFAULT_FRESHNESS
    limits: Callable[[str], Limits] = lambda _host: Limits()
    mirrors: Mirrors | None = None
    pinned: Callable[[Reference], Digest | None] = _nothing_pinned


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
    ) -> None:
        self.spool = spool
        self._pinned = rules.pinned
        self.breakers = Breakers(clock)
        self.turns = Turns(self.breakers, rules.limits)
        upstreams = Upstreams(client, self.turns, rules.mirrors)
        self._upstream = Upstream(upstreams)
        self._blobs = SpooledBlobs(upstreams, spool, self.turns, clock)
        self._manifests = SpooledManifests(upstreams, spool, rules.freshness, clock)
        self._access = AccessFacts(Upstreams(anonymous or client, self.turns, rules.mirrors), clock)
        self._facts = ImageFacts(self._access, self._manifests, clock)

    def peer(self, _request: Request, /) -> str:
        """None for others' breakers: the shield in this process answers, and has breakers for each registry."""
        return ""

    def fetch(self, request: Request) -> Answer:
        """The answer from the spool, from memory or from upstream; raises RegistryError."""
        answer = self._fetch(request)
        return replace(answer, source=SOURCES.get(answer.cache, "upstream"))

    def _fetch(self, request: Request) -> Answer:
        digest = request.route.digest
        if request.kind is Kind.BLOB and digest:
            return self._blobs.fetch(request, digest)
        if request.kind is Kind.MANIFEST:
            return self._manifest(request)
        return self._upstream.fetch(request)

    def access(self, reference: Reference) -> Access:
        """Whether anybody may pull the image; asked of upstream and remembered briefly."""
        return self._access.of(reference)

    def facts(self, reference: Reference) -> Mapping[str, Any]:
        """What is known of the image now; what is not is asked of upstream meanwhile. It never waits."""
        return self._facts.of(reference)

    def tally(self) -> Tally:
        """The numbers now."""
        return Tally(self.spool.tally(), self._blobs.tally(), self._manifests.joined, self._manifests.stale)

    def _manifest(self, request: Request) -> Answer:
        reference = request.route.reference
        pinned = None if reference.digest else self._pinned(reference)
        if pinned:
            with suppress(NotFound):  # what is pinned may be gone; then the tag as it is now is better than none
                return self._by_digest(request, reference.with_digest(pinned))
        if reference.digest is None:
            descriptor = self._manifests.descriptor(reference, with_manifest=not request.is_head)
            if request.is_head:
                return manifest_answer(request, descriptor, None)
            reference = reference.with_digest(descriptor.digest)
        return self._by_digest(request, reference)

    def _by_digest(self, request: Request, reference: Reference) -> Answer:
        manifest, kept = self._manifests.manifest(reference)
        answer = manifest_answer(request, manifest.descriptor, manifest.raw)
        return replace(answer, cache=HIT if kept else MISS)
