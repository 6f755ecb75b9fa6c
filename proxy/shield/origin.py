"""The origin shield: upstream is asked once, whoever asks the shield, and what came is kept on a bounded disk."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from proxy.breaker import Breakers
from proxy.path import Kind
from proxy.shield.access import Access, AccessFacts
from proxy.shield.blobs import BYPASS, COLLAPSED, HIT, MISS, SpooledBlobs
from proxy.shield.facts import ImageFacts
from proxy.shield.freshness import DEFAULT_FRESHNESS
from proxy.shield.limits import Limits, Turns
from proxy.shield.manifests import SpooledManifests
from proxy.shield.spool import Spool
from proxy.sources.message import Answer, Request, manifest_answer
from proxy.sources.upstream import Upstream
from registry.client import Client
from registry.reference import Reference

SOURCES = {HIT: "spool", MISS: "upstream", COLLAPSED: "collapsed", BYPASS: "bypass"}
"""Where an answer came from, by what is said of it in `Cache-Status`."""


class Shield:
    """A source in front of upstream registries; threads share it, and it starts threads only when it fetches.

    `client` has the credentials that upstream is asked with, `anonymous` has none (by default `client` itself is taken
    to have none). `freshness` is how many seconds a tag is told without asking again; `clock` is monotonic.
    `limits` is asked for each registry.
    """

    name = "shield"

    def __init__(
        self,
        client: Client,
        spool: Spool,
        freshness: float = DEFAULT_FRESHNESS,
        clock: Callable[[], float] = time.monotonic,
        *,
        anonymous: Client | None = None,
        limits: Callable[[str], Limits] = lambda _host: Limits(),
    ) -> None:
        self.spool = spool
        self.turns = Turns(Breakers(clock), limits)
        self._upstream = Upstream(client)
        self._blobs = SpooledBlobs(client, spool, self.turns, clock)
        self._manifests = SpooledManifests(client, spool, self.turns, freshness, clock)
        self._access = AccessFacts(anonymous or client, self.turns, clock)
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
        with self.turns.guard(request.route.host):
            return self._upstream.fetch(request)

    def access(self, reference: Reference) -> Access:
        """Whether anybody may pull the image; asked of upstream and remembered briefly."""
        return self._access.of(reference)

    def facts(self, reference: Reference) -> Mapping[str, Any]:
        """What is known of the image now; what is not is asked of upstream meanwhile. It never waits."""
        return self._facts.of(reference)

    def _manifest(self, request: Request) -> Answer:
        reference = request.route.reference
        if reference.digest is None:
            descriptor = self._manifests.descriptor(reference, with_manifest=not request.is_head)
            if request.is_head:
                return manifest_answer(request, descriptor, None)
            reference = reference.with_digest(descriptor.digest)
        manifest, kept = self._manifests.manifest(reference)
        answer = manifest_answer(request, manifest.descriptor, manifest.raw)
        return replace(answer, cache=HIT if kept else MISS)
