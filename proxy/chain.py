"""The chain of sources: whom to ask first, and whom next."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace

from proxy.breaker import Breakers
from proxy.continued import typed
from proxy.errors import Busy
from proxy.path import Kind
from proxy.patience import Probed, patience
from proxy.recent import RecentManifests
from proxy.search import Search
from proxy.sources.message import Answer, Request, Source
from proxy.suspicion import Suspicion
from registry.errors import RegistryError
from registry.rendezvous import blob_key, manifest_key, ordered
from registry.response import TimedOut, TooSlow

CACHE = "kuik"


@dataclass(frozen=True)
class Chain:
    """Sources by what they are: `stores` hold copies, `shields` fetch from upstream for all, `upstreams` are upstream.

    A tag may have moved, so a shield is asked first; a digest never does, so a store is. Of several of a kind, all
    proxies ask the same one first for the same thing, and the next where it is dead. Whoever is silent is waited for
    according to `patience`, which gets the seconds spent already. Threads share one Chain.
    """

    stores: Sequence[Source] = ()
    shields: Sequence[Source] = ()
    upstreams: Sequence[Source] = ()
    breakers: Breakers = field(default_factory=Breakers)
    recent: RecentManifests = field(default_factory=RecentManifests)
    suspicion: Suspicion = field(default_factory=Suspicion)
    patience: Callable[[float], float] = patience

    def order(self, request: Request) -> tuple[Source, ...]:
        """The sources in the order to ask them. Nobody here has a secret to ask upstream with."""
        stores = _ranked(self.stores, request)
        if request.only_cached:
            return tuple(stores)
        shields = _ranked(self.shields, request)
        upstreams = () if request.route.private else self.upstreams
        if request.route.digest and request.kind is not Kind.REFERRERS:
            return (*stores, *shields, *upstreams)
        return (*shields, *stores, *upstreams)

    def fetch(self, request: Request) -> Answer:
        """The first answer there is; raises the most telling RegistryError when no source has one.

        A body that breaks is continued from the next source; it raises when none is left.
        """
        return self.remembered(request) or Search(self, request).answer()

    def remembered(self, request: Request) -> Answer | None:
        """The answer, where it is in memory."""
        found = None if request.only_cached else self.recent.get(request)
        return replace(found, cache=f"{CACHE}; hit; detail=memory", source="memory") if found else None

    def ask(self, source: Source, request: Request) -> Answer:
        """Ask one source that others come after: within the request's patience, and not while it is known to fail.

        A shield that is alive may be fetching, and is waited for, unless a store may have a tag's copy.
        """
        peer, about = self._names(source, request)
        if not peer:
            return self._ask(source, request)
        with self.breakers.guard(peer, about, lambda: self._try_apart(source, request)):
            return self._ask(source, request)

    def ask_last(self, source: Source, request: Request) -> Answer:
        """Ask one source that nobody comes after, so that it may take its time."""
        peer, about = self._names(source, request)
        request = replace(request, patience=None)
        with self.breakers.guard(peer, about) if peer else nullcontext():
            return self._fetch(source, request)

    def insist(self, source: Source, request: Request) -> Answer:
        """Ask a source that was too slow or left alone, now that nobody else has an answer."""
        peer, about = self._names(source, request)
        with self.breakers.resumed(peer, about) if peer else nullcontext():
            return self._fetch(source, request)

    def _ask(self, source: Source, request: Request) -> Answer:
        try:
            return self._fetch(source, request)
        except TooSlow:  # who is busy is slow to begin, not in the middle of a manifest
            raise
        except TimedOut as late:
            if not (source in self.shields and isinstance(source, Probed) and source.is_alive()):
                raise
            if self.stores and not request.route.digest:
                raise Busy(str(late)) from late
        return self._fetch(source, replace(request, patience=None))

    def _fetch(self, source: Source, request: Request) -> Answer:
        begun = time.monotonic()
        try:
            answer = source.fetch(request)
        except (RegistryError, OSError) as error:
            seconds = time.monotonic() - begun
            if isinstance(error, TimedOut) and request.patience is not None:
                request.story.too_slow(source.name, seconds)
            else:
                request.story.refused(source.name, typed(error), seconds)
            raise
        request.story.answered(source.name, time.monotonic() - begun)
        outcome = "hit" if source in self.stores else "fwd=miss"
        mine = f"{CACHE}; {outcome}; detail={source.name}"
        return replace(answer, cache=f"{answer.cache}, {mine}" if answer.cache else mine, source=source.name)

    def _names(self, source: Source, request: Request) -> tuple[str, str]:
        peer = source.peer(request)
        return peer, request.route.host if peer != request.route.host else ""

    def _try_apart(self, source: Source, request: Request) -> None:
        """Ask a source that failed whether it has the same thing, while the client gets it from another one."""
        peer, about = self._names(source, request)
        question = Request(request.route, "HEAD", query=request.query)

        def ask() -> None:
            with suppress(RegistryError, OSError), self.breakers.resumed(peer, about):
                source.fetch(question).body.close()

        with suppress(RuntimeError):  # the machine has no thread left
            threading.Thread(target=ask, daemon=True, name=f"try {peer}").start()


def _ranked(replicas: Sequence[Source], request: Request) -> Sequence[Source]:
    """Replicas by rendezvous; they are told apart by `host`, under which every caller knows them."""
    if len(replicas) < 2:
        return replicas
    digest = request.route.digest
    key = blob_key(digest) if digest and request.kind is Kind.BLOB else manifest_key(request.route.reference)
    by_name = {str(getattr(source, "host", source.name)): source for source in replicas}
    return [by_name[name] for name in ordered(by_name, key)]
