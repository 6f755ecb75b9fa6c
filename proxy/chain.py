"""The chain of sources: whom to ask first, and whom next."""

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

from proxy.breaker import Breakers
from proxy.continued import Continued, typed
from proxy.errors import RangeNotSatisfiable, most_telling
from proxy.path import Kind
from proxy.patience import SECONDS, StillWaiting, patiently
from proxy.recent import RecentManifests
from proxy.sources.message import Answer, Request, Source
from proxy.stream import BytesBody, FileBody, NoBody
from registry.errors import RegistryError
from registry.rendezvous import blob_key, manifest_key, ordered

CACHE = "kuik"


@dataclass(frozen=True)
class Chain:
    """Sources by what they are: `stores` hold copies, `shields` fetch from upstream for all, `upstreams` are upstream.

    A tag may have moved, so a shield is asked first; a digest never does, so a store is. Of several of a kind, all
    proxies ask the same one first for the same thing, and the next where it is dead. Where a store may have a tag's
    copy, shields have `patience` seconds to say where it points now. Threads share one Chain.
    """

    stores: Sequence[Source] = ()
    shields: Sequence[Source] = ()
    upstreams: Sequence[Source] = ()
    breakers: Breakers = field(default_factory=Breakers)
    recent: RecentManifests = field(default_factory=RecentManifests)
    patience: float = SECONDS

    def order(self, request: Request) -> tuple[Source, ...]:
        """The sources in the order to ask them. Nobody here has a secret to ask upstream with."""
        stores, shields = _ranked(self.stores, request), _ranked(self.shields, request)
        upstreams = () if request.route.private else self.upstreams
        if request.route.digest and request.kind is not Kind.REFERRERS:
            return (*stores, *shields, *upstreams)
        return (*shields, *stores, *upstreams)

    def fetch(self, request: Request) -> Answer:
        """The first answer there is; raises the most telling RegistryError when no source has one.

        A body that breaks is continued from the next source; it raises when none is left.
        """
        remembered = self.recent.get(request)
        if remembered:
            return replace(remembered, cache=f"{CACHE}; hit; detail=memory", source="memory")
        return Search(self, request).answer()

    def ask(self, source: Source, request: Request) -> Answer:
        """Ask one source, through its breaker; raises StillWaiting for a shield when a store may know as well."""
        if source in self.shields and self.stores and request.kind is Kind.MANIFEST and not request.route.digest:
            return patiently(lambda: self._ask(source, request), source.name, self.patience)
        return self._ask(source, request)

    def _ask(self, source: Source, request: Request) -> Answer:
        peer = source.peer(request)
        about = request.route.host if peer != request.route.host else ""
        begun = time.monotonic()
        try:
            with self.breakers.guard(peer, about) if peer else nullcontext():
                answer = source.fetch(request)
        except (RegistryError, OSError) as error:
            request.story.refused(source.name, typed(error), time.monotonic() - begun)
            raise
        request.story.answered(source.name, time.monotonic() - begun)
        outcome = "hit" if source in self.stores else "fwd=miss"
        mine = f"{CACHE}; {outcome}; detail={source.name}"
        return replace(answer, cache=f"{answer.cache}, {mine}" if answer.cache else mine, source=source.name)


class Search:
    """One request on its way along the chain."""

    def __init__(self, chain: Chain, request: Request) -> None:
        self.request = request
        self._chain = chain
        self._rest = iter(chain.order(request))
        self._local: list[RegistryError] = []
        self._remote: list[RegistryError] = []
        self._late: list[StillWaiting] = []

    def answer(self) -> Answer:
        """The first answer whose body also begins to come."""
        answer = self.ask_next(self.request)
        self._chain.recent.keep(self.request, answer)
        if isinstance(answer.body, (BytesBody, FileBody, NoBody)):
            return answer
        continued = Continued(answer, self.request, self.ask_next)
        continued.begin()
        return replace(answer, body=continued)

    def ask_next(self, request: Request, because: RegistryError | None = None) -> Answer:
        """The answer of the next source that has one, `because` the last one broke; raises the most telling error."""
        if because:
            self._remote.append(because)
        for source in self._rest:
            try:
                answer = self._chain.ask(source, request)
            except RangeNotSatisfiable:  # it has the blob, so this is the answer
                raise
            except StillWaiting as waiting:
                request.story.too_slow(source.name, self._chain.patience)
                self._late.append(waiting)
            except (RegistryError, OSError) as error:
                (self._local if source in self._chain.stores else self._remote).append(typed(error))
            else:
                for late in self._late:
                    late.abandon()
                return answer
        return self._last_hope()

    def _last_hope(self) -> Answer:
        """Nobody else has it, so those who are slow are waited for after all."""
        while self._late:
            try:
                return self._late.pop(0).wait()
            except (RegistryError, OSError) as error:
                self._remote.append(typed(error))
        raise most_telling(self._local, self._remote)


def _ranked(replicas: Sequence[Source], request: Request) -> Sequence[Source]:
    """Replicas by rendezvous; they are told apart by `host`, under which every caller knows them."""
    if len(replicas) < 2:
        return replicas
    digest = request.route.digest
    key = blob_key(digest) if digest and request.kind is Kind.BLOB else manifest_key(request.route.reference)
    by_name = {str(getattr(source, "host", source.name)): source for source in replicas}
    return [by_name[name] for name in ordered(by_name, key)]
