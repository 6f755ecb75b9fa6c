"""The chain of sources: whom to ask first, whom next, and how a broken transfer goes on elsewhere."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

from proxy.breaker import Breakers
from proxy.errors import RangeNotSatisfiable, most_telling
from proxy.path import Kind
from proxy.patience import SECONDS, StillWaiting, patiently
from proxy.recent import RecentManifests
from proxy.sources.message import Answer, Request, Source
from proxy.span import ByteRange, Span
from proxy.stream import BytesBody, FileBody, NoBody, PiecesBody, cut
from registry.errors import Corrupt, RegistryError, Unreachable

CACHE = "kuik"


@dataclass(frozen=True)
class Chain:
    """Sources by what they are: `stores` hold copies, `shields` fetch from upstream for all, `upstreams` are upstream.

    A tag may have moved, so a shield is asked first; a digest never does, so a store is. Where a store may have a
    tag's copy, shields have `patience` seconds to say where it points now. Threads share one Chain.
    """

    stores: Sequence[Source] = ()
    shields: Sequence[Source] = ()
    upstreams: Sequence[Source] = ()
    breakers: Breakers = field(default_factory=Breakers)
    recent: RecentManifests = field(default_factory=RecentManifests)
    patience: float = SECONDS

    def order(self, request: Request) -> tuple[Source, ...]:
        """The sources in the order to ask them. Nobody here has a secret to ask upstream with."""
        upstreams = () if request.route.private else self.upstreams
        if request.route.digest and request.kind is not Kind.REFERRERS:
            return (*self.stores, *self.shields, *upstreams)
        return (*self.shields, *self.stores, *upstreams)

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
        with self.breakers.guard(peer, about) if peer else nullcontext():
            answer = source.fetch(request)
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
        continued = Continued(self, answer)
        continued.begin()
        return replace(answer, body=PiecesBody(continued.pieces(), continued.close))

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


class Continued:
    """The bytes of one blob from one source after another."""

    def __init__(self, search: Search, answer: Answer) -> None:
        self._search = search
        self._size = answer.size
        self._span = answer.span or (Span(0, answer.size) if answer.size is not None else None)
        self._at = self._span.start if self._span else 0
        self._body = answer.body
        self._pieces = iter(answer.body)
        self._first: bytes | None = None

    def begin(self) -> None:
        """Have the first piece at hand, so that a source that breaks at once is none; raises when no source is left."""
        self._first = self._read()

    def pieces(self) -> Iterator[bytes]:
        """All bytes; raises RegistryError when they break off and no source is left."""
        piece, self._first = self._first, None
        while piece is not None:
            yield piece
            piece = self._read()

    def close(self) -> None:
        self._body.close()

    def _read(self) -> bytes | None:
        while True:
            try:
                piece = next(self._pieces, None)
            except (RegistryError, OSError) as error:
                self._body.close()
                self._go_on(typed(error))
            else:
                self._at += len(piece or b"")
                return piece

    def _go_on(self, error: RegistryError) -> None:
        """Take the rest from the next source; not after damage, as what was sent may be wrong already."""
        span = self._span
        if span is None or (isinstance(error, Corrupt) and self._at > span.start):
            raise error
        rest = replace(self._search.request, range=ByteRange(self._at, span.stop - 1))
        answer = self._search.ask_next(rest, error)
        self._body = answer.body
        if answer.size != self._size:
            answer.body.close()
            raise Corrupt(f"{answer.source} has {answer.size} bytes of {rest.route}, not {self._size}") from error
        self._pieces = cut(answer.body, 0 if answer.span else self._at, span.stop - self._at)


def typed(error: RegistryError | OSError) -> RegistryError:
    """A machine that is short of something, such as open files, is a source that does not answer."""
    return error if isinstance(error, RegistryError) else Unreachable(f"this machine failed: {error.strerror or error}")
