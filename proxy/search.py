"""One request on its way along the chain of sources, and what becomes of the answer's body."""

import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from proxy.continued import Continued, typed
from proxy.errors import NotAsked, RangeNotSatisfiable, most_telling
from proxy.path import Kind
from proxy.patience import FIRST
from proxy.sources.message import Answer, Request, Source
from proxy.stream import BytesBody, FileBody, NoBody
from proxy.suspicion import Hashed, Watched
from registry.digest import Digest
from registry.errors import Corrupt, RegistryError
from registry.response import TimedOut

if TYPE_CHECKING:  # the chain makes searches
    from proxy.chain import Chain


class Search:
    """One request on its way along the chain."""

    def __init__(self, chain: "Chain", request: Request) -> None:
        self.request = request
        self._chain = chain
        self._rest = deque(chain.order(request))
        self._asked: Source | None = None
        self._local: list[RegistryError] = []
        self._remote: list[RegistryError] = []
        self._late: list[tuple[Source, float | None]] = []
        self._givers: list[str] = []
        self._shorter: RangeNotSatisfiable | None = None
        self._spent = 0.0

    def answer(self) -> Answer:
        """The first answer whose body also begins to come."""
        digest = self._whole_blob()
        doubted = self._doubted(digest) if digest else frozenset()
        answer = self.ask_next(self.request)
        if not self.request.only_cached:
            self._chain.recent.keep(self.request, answer)
        if isinstance(answer.body, (BytesBody, FileBody, NoBody)):
            return answer
        continued = Continued(answer, self.request, self.ask_next)
        continued.begin()
        if digest is None or answer.size is None or answer.span:
            return replace(answer, body=continued)
        if doubted or self.request.only_cached:
            hashed = Hashed(continued, digest, answer.size, lambda error: self._judged(digest, error))
            hashed.begin()
            return replace(answer, body=hashed)
        served = Watched(continued, answer.size, lambda: self._chain.suspicion.served(digest, self._givers))
        return replace(answer, body=served)

    def _whole_blob(self) -> Digest | None:
        request = self.request
        return None if request.kind is not Kind.BLOB or request.is_head or request.range else request.route.digest

    def _doubted(self, digest: Digest) -> frozenset[str]:
        """Put those back whose bytes are in doubt, and have a store among them judged; who they are."""
        suspicion, names = self._chain.suspicion, [self._name(source) for source in self._rest]
        doubted = suspicion.doubted(digest, names)
        for shield in self._chain.shields:  # its link may have damaged them, and only upstream is left besides
            if self._name(shield) in doubted - suspicion.known_damaged(digest, names):
                suspicion.prove(shield, self._name(shield), self.request, digest)
                doubted = suspicion.doubted(digest, names)
        if doubted:
            damaged = suspicion.known_damaged(digest, names)
            stores = [one for one in self._rest if one in self._chain.stores and self._name(one) in doubted - damaged]
            self._rest = deque(sorted(self._rest, key=lambda source: self._standing(source, doubted, damaged)))
            if stores and self._name(self._rest[0]) not in doubted:
                suspicion.judge(stores[0], self._name(stores[0]), self.request, digest)
        return doubted

    def _standing(self, source: Source, doubted: frozenset[str], damaged: frozenset[str]) -> int:
        """The place of a source while some are in doubt.

        A shield has hashed what it serves, so doubt alone sends nobody to another one, nor upstream: that would cost
        upstream a fetch each time.
        """
        name = self._name(source)
        if name in damaged:
            return 4
        if source in self._chain.stores:
            return 2 if name in doubted else 0
        return 1 if source in self._chain.shields else 3

    def _judged(self, digest: Digest, error: Corrupt | None) -> None:
        """The bytes of a blob were hashed on their way. Of several sources, none alone can be blamed or praised."""
        suspicion = self._chain.suspicion
        if len(set(self._givers)) > 1:
            suspicion.served(digest, self._givers)
        elif error:
            suspicion.damaged(digest, self._givers[0], error)
        else:
            suspicion.sound(digest, self._givers[0])

    def _name(self, source: Source) -> str:
        return source.peer(self.request) or source.name

    def ask_next(self, request: Request, because: RegistryError | None = None) -> Answer:
        """The answer of the next source that has one, `because` the last one broke; raises the most telling error."""
        if because is None:
            return self._next(request)
        slow = self._asked if isinstance(because, TimedOut) else None
        self._remote.append(because)
        answer = self._next(request)
        if slow and (peer := slow.peer(request)):  # and others are faster
            self._chain.breakers.late(peer, because)
        return answer

    def _next(self, request: Request) -> Answer:
        while self._rest:
            source = self._asked = self._rest.popleft()
            begun = time.monotonic()
            try:
                answer = self._ask(source, request)
            except RangeNotSatisfiable as beyond:
                self._beyond(source, beyond)
            except (RegistryError, OSError) as error:
                self._note(source, typed(error), time.monotonic() - begun)
            else:
                self._givers.append(self._name(source))
                return answer
        return self._last_hope(request)

    def _beyond(self, source: Source, error: RangeNotSatisfiable) -> None:
        """Who has the blob and not these bytes of it gives the answer, unless it may have lost the end.

        So does a copy on a bad disk, and who is to go on with bytes that another one had already begun to give.
        """
        if source not in self._chain.stores and not self._givers:
            raise error
        self._shorter = error

    def _ask(self, source: Source, request: Request) -> Answer:
        if not self._rest:
            return self._chain.ask_last(source, request)
        return self._chain.ask(source, replace(request, patience=self._chain.patience(self._spent)))

    def _note(self, source: Source, error: RegistryError, seconds: float) -> None:
        if isinstance(error, TimedOut):
            self._spent += seconds
            self._late.append((source, None))
        elif isinstance(error, NotAsked) and source.peer(self.request):
            self.request.story.refused(source.name, error, seconds)
            self._late.append((source, FIRST))
        else:
            (self._local if source in self._chain.stores else self._remote).append(error)

    def _last_hope(self, request: Request) -> Answer:
        """Nobody else has it, so those who are slow are waited for after all, and those left alone are asked."""
        while self._late:
            source, seconds = self._late.pop(0)
            self._asked = source
            try:
                answer = self._chain.insist(source, replace(request, patience=seconds))
            except (RegistryError, OSError) as error:
                (self._local if source in self._chain.stores else self._remote).append(typed(error))
            else:
                self._givers.append(self._name(source))
                return answer
        raise self._shorter or most_telling(self._local, self._remote)
