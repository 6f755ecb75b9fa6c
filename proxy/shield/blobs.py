"""Blobs through the spool: one upstream fetch for all who want the same one, at the same time or later."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace

from proxy.errors import BlobUnknown
from proxy.path import Route
from proxy.shield.fetch import Fetch, FollowingBody
from proxy.shield.fill import Filler
from proxy.shield.lately import ABSENCE, DAMAGE, Lately
from proxy.shield.limits import Turns
from proxy.shield.spool import Spool
from proxy.sources.message import BLOB_TYPE, Answer, Request
from proxy.sources.upstream import Upstream
from proxy.span import ByteRange, Span, span_of
from proxy.stream import FileBody, NoBody, PiecesBody
from registry.client import Client
from registry.digest import Digest
from registry.errors import Corrupt, NotFound, RegistryError, StoreFull, Unauthorized, Unreachable
from registry.reference import Reference
from registry.singleflight import SingleFlight
from registry.verify import verified

HIT = "kuik-shield; hit"
MISS = "kuik-shield; fwd=miss"
COLLAPSED = "kuik-shield; fwd=miss; collapsed"
BYPASS = "kuik-shield; fwd=bypass"


@dataclass(frozen=True, slots=True)
class BlobTally:
    """Fetches under way now; requests that joined one, transfers resumed, and damage that came from upstream so far."""

    fetches: int
    joined: int
    resumed: int
    damaged: int


class SpooledBlobs:
    """Blobs of all registries. Threads share it; every fetch runs in a thread of its own, whoever leaves."""

    def __init__(self, client: Client, spool: Spool, turns: Turns, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._spool = spool
        self._turns = turns
        self._upstream = Upstream(client)
        self._under_way: dict[Digest, Fetch] = {}
        self._lock = threading.Lock()
        self._filler = Filler(client, spool, turns)
        self._sizes: SingleFlight[Reference, int | None] = SingleFlight()
        self._damage: Lately[Digest] = Lately(DAMAGE, clock)
        self._absent: Lately[Route] = Lately(ABSENCE, clock)
        self._collapsed = self._damaged = 0

    def tally(self) -> BlobTally:
        """The numbers now."""
        with self._lock:
            joined = self._collapsed + self._sizes.joined
            return BlobTally(len(self._under_way), joined, self._filler.resumed, self._damaged)

    def fetch(self, request: Request, digest: Digest) -> Answer:
        """The answer to a GET or HEAD of a blob; raises RegistryError."""
        kept = self.kept(request, digest)
        if kept:
            return kept
        self._absent.check(request.route)
        try:
            return self._asked(request, digest)
        except (NotFound, Unauthorized) as error:
            self._absent.note(request.route, error)
            raise

    def _asked(self, request: Request, digest: Digest) -> Answer:
        if request.is_head:
            return self.head(request, digest)
        if request.range and request.range.first > 0:  # a reader that comes back for the rest of damaged bytes
            self._damage.check(digest)
        if self._filler.knows_too_large(digest):
            return self.through(request, digest)
        try:
            fetch, leads = self._join(request.route, digest)
            return self._following(request, fetch, MISS if leads else COLLAPSED)
        except StoreFull:
            return self.through(request, digest)

    def kept(self, request: Request, digest: Digest) -> Answer | None:
        """The answer from the spool; None where it has no such blob."""
        file = self._spool.open(digest)
        if file is None:
            return None
        try:
            size = os.fstat(file.fileno()).st_size  # of this file, which may have left the spool since
            span = span_of(request.range, size)
        except RegistryError:
            file.close()
            raise
        wanted = span if request.range else None
        if request.is_head:
            file.close()
            return Answer(NoBody(), size, BLOB_TYPE, digest, wanted, cache=HIT)
        return Answer(FileBody(file, span), size, BLOB_TYPE, digest, wanted, cache=HIT)

    def head(self, request: Request, digest: Digest) -> Answer:
        """The answer to a HEAD that upstream itself gives; raises RegistryError."""
        reference = request.route.reference

        def ask() -> int | None:
            return self._client.has_blob(reference, digest)

        size = self._sizes.do(reference, ask)
        if size is None:
            raise BlobUnknown(f"{request.route}: {reference.host} has no such blob")
        return Answer(
            NoBody(), size, BLOB_TYPE, digest, request.range.within(size) if request.range else None, cache=MISS
        )

    def _following(self, request: Request, fetch: Fetch, cache: str) -> Answer:
        file = fetch.follow(sized=request.range is not None)
        if file is None:
            kept = self.kept(request, fetch.digest)
            if kept is None:  # pushed out again at once, or damaged on the disk
                raise StoreFull("the spool is too busy")
            return replace(kept, cache=cache)
        try:
            span = None if fetch.size is None else span_of(request.range, fetch.size)
            body = FollowingBody(fetch, file, span, lambda rest: self._rest(request, rest))
            body.begin()
        except RegistryError:
            file.close()
            raise
        wanted = span if request.range else None
        return Answer(body, fetch.size, BLOB_TYPE, fetch.digest, wanted, cache=cache)

    def through(self, request: Request, digest: Digest) -> Answer:
        """Straight from upstream, where the spool has no room for the blob: nothing is kept."""
        with ExitStack() as opened:
            opened.enter_context(self._turns.transfer(request.route.host))
            answer = self._upstream.fetch(request)
            opened.callback(answer.body.close)
            pieces = answer.body if answer.span else verified(answer.body, digest, answer.size)
            return replace(answer, body=PiecesBody(pieces, opened.pop_all().close), cache=BYPASS)

    def _rest(self, request: Request, span: Span) -> Iterator[bytes]:
        asked = replace(request, range=ByteRange(span.start, span.stop - 1))
        answer = self._upstream.fetch(asked)
        with closing(answer.body):
            if answer.span != span:
                raise Unreachable(f"{request.route.host} does not continue in the middle of a blob")
            yield from answer.body

    def _join(self, route: Route, digest: Digest) -> tuple[Fetch, bool]:
        with self._lock:
            fetch = self._under_way.get(digest)
            if fetch:
                self._collapsed += 1
                return fetch, False
            self._absent.check(route)  # one that has just ended may have found that it is not there
            fetch = self._under_way[digest] = Fetch(digest)
        thread = threading.Thread(target=self._run, args=(fetch, route), name=f"fetch {digest.hex[:12]}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the machine has no thread left
            self._ended(fetch, StoreFull(f"no fetch could be started: {error}"), route)
        return fetch, True

    def _run(self, fetch: Fetch, route: Route) -> None:
        outcome: int | RegistryError = Unreachable(f"the fetch of {route.reference} ended")
        try:
            outcome = self._filler.fill(fetch, route.reference)
        except RegistryError as error:
            outcome = error
        finally:  # whatever happened, nobody waits for ever
            self._ended(fetch, outcome, route)

    def _ended(self, fetch: Fetch, outcome: int | RegistryError, route: Route) -> None:
        if isinstance(outcome, NotFound | Unauthorized):
            self._absent.note(route, outcome)
        with self._lock:
            del self._under_way[fetch.digest]
            self._damaged += isinstance(outcome, Corrupt)
        if isinstance(outcome, Corrupt):
            self._damage.note(fetch.digest, outcome)
        if isinstance(outcome, RegistryError):
            fetch.failed(outcome)
        else:
            fetch.finished(outcome)
