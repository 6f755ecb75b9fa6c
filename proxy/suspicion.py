"""What was served whole and is asked for again soon: the client may have found it damaged.

The bytes of blobs are not hashed on their way, since the client does that. But a client that comes back at once for
what it had whole may come for that reason. Then others are asked first, the bytes are hashed on the way, and whoever
gave them before is judged apart: one that has other bytes than it should is reported, and asked last from then on.
"""

import logging
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping

from proxy.outlet import Outlet
from proxy.sources.message import Request, Source
from proxy.stream import Body, Passing
from registry.digest import Digest
from registry.errors import Corrupt, RegistryError
from registry.response import TooSlow
from registry.singleflight import SingleFlight
from registry.verify import verified

log = logging.getLogger("kuik.proxy")

SOON = 360.0
"""Seconds within which a client that found damage comes back: kubelet waits 10 at first, and 300 at most."""
PROVEN_FOR = 3600.0
PATIENCE, SLOWEST = 1.0, 16 * 1024
"""Seconds for a source that is judged to begin, and after which it is left at fewer bytes per second."""
_REMEMBERED = 2000

Given = tuple[Digest, str]


class Suspicion:
    """Which sources' bytes of which blobs are in doubt; threads share it. `clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._served: OrderedDict[Given, float] = OrderedDict()
        self._sound: OrderedDict[Given, float] = OrderedDict()
        self._damaged: OrderedDict[Given, float] = OrderedDict()
        self._found: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._judging = threading.Semaphore()
        self._proving: SingleFlight[Given, None] = SingleFlight()

    def doubted(self, digest: Digest, sources: Iterable[str]) -> frozenset[str]:
        """Those of the sources whose bytes of a blob were served whole lately without a proof, or are damaged."""
        with self._lock:
            return frozenset(source for source in sources if self._doubts((digest, source)))

    def known_damaged(self, digest: Digest, sources: Iterable[str]) -> frozenset[str]:
        """Those of the sources whose bytes of a blob were hashed lately, and are wrong."""
        with self._lock:
            now, never = self._clock(), float("-inf")
            return frozenset(source for source in sources if self._damaged.get((digest, source), never) > now)

    def served(self, digest: Digest, sources: Iterable[str]) -> None:
        """A client got all of a blob, unhashed, from these sources together."""
        self._note(self._served, digest, sources, SOON)

    def sound(self, digest: Digest, source: str) -> None:
        """The source's bytes were hashed, and are right."""
        self._note(self._sound, digest, [source], PROVEN_FOR)

    def damaged(self, digest: Digest, source: str, error: Corrupt) -> None:
        """The source's bytes were hashed, and are wrong."""
        log.error("%s has damaged bytes of %s, and is asked for it last from now on: %s", source, digest, error)
        self._note(self._damaged, digest, [source], PROVEN_FOR)
        with self._lock:
            if source in self._found or len(self._found) < _REMEMBERED:
                self._found[source] += 1

    def tally(self) -> Mapping[str, int]:
        """How often each source was found to have damaged bytes."""
        with self._lock:
            return dict(self._found)

    def prove(self, source: Source, name: str, request: Request, digest: Digest) -> None:
        """Hash all that a source has of a blob, now, once for all who wait for it; what was found is remembered."""
        self._proving.do((digest, name), lambda: self._hash(source, name, request, digest))

    def judge(self, source: Source, name: str, request: Request, digest: Digest) -> None:
        """Hash all that a source has of a blob, apart from any client; not while another one is judged."""
        if not self._judging.acquire(blocking=False):
            return
        try:
            threading.Thread(
                target=self._judge, args=(source, name, request, digest), daemon=True, name=f"judge {name}"
            ).start()
        except RuntimeError:  # the machine has no thread left
            self._judging.release()

    def _judge(self, source: Source, name: str, request: Request, digest: Digest) -> None:
        try:
            self._hash(source, name, request, digest)
        finally:
            self._judging.release()

    def _hash(self, source: Source, name: str, request: Request, digest: Digest) -> None:
        try:
            answer = source.fetch(Request(request.route, patience=PATIENCE))
            try:
                self._read(verified(answer.body, digest, answer.size), name)
            finally:
                answer.body.close()
            self.sound(digest, name)
        except Corrupt as error:
            self.damaged(digest, name, error)
        except (RegistryError, OSError):  # it has no bytes now, which is no proof of anything
            pass

    def _read(self, pieces: Iterator[bytes], name: str) -> None:
        begun, seen = self._clock(), 0
        for piece in pieces:
            seen += len(piece)
            spent = self._clock() - begun
            if spent > PATIENCE and seen < spent * SLOWEST:
                raise TooSlow(f"{name} is too slow to be judged")

    def _doubts(self, given: Given) -> bool:
        now, never = self._clock(), float("-inf")
        if self._damaged.get(given, never) > now:
            return True
        return self._served.get(given, never) > now >= self._sound.get(given, never)

    def _note(self, what: OrderedDict[Given, float], digest: Digest, sources: Iterable[str], seconds: float) -> None:
        with self._lock:
            for source in sources:
                what[digest, source] = self._clock() + seconds
                what.move_to_end((digest, source))
            while len(what) > _REMEMBERED:
                what.popitem(last=False)


class Watched:
    """A whole blob on its way, unhashed; tells `ended()` once all of its `size` bytes were taken."""

    def __init__(self, body: Body, size: int, ended: Callable[[], None]) -> None:
        self._body = body
        self._left = size
        self._ended = ended

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._body:
            self._left -= len(piece)
            yield piece

    def pass_on(self, outlet: Outlet, /) -> Iterator[int]:
        """See Passing."""
        assert isinstance(self._body, Passing)  # noqa: S101  whoever made it sees to that
        for count in self._body.pass_on(outlet):
            self._left -= count
            yield count

    def close(self) -> None:
        self._body.close()
        if self._left == 0:
            self._left = -1
            self._ended()


class Hashed:
    """A whole blob on its way, whose last piece comes only after it is proven; tells `judged` what was found.

    `begin()` it first: a small one that is damaged is then refused, and its client told why.
    """

    def __init__(self, body: Body, digest: Digest, size: int, judged: Callable[[Corrupt | None], None]) -> None:
        self._body = body
        self._pieces = verified(body, digest, size)
        self._judged = judged
        self._first: bytes | None = None

    def begin(self) -> None:
        """Have the first piece at hand; raises RegistryError, after closing the body."""
        try:
            self._first = self._next()
        except RegistryError:
            self.close()
            raise

    def __iter__(self) -> Iterator[bytes]:
        piece, self._first = self._first, None
        while piece is not None:
            yield piece
            piece = self._next()

    def _next(self) -> bytes | None:
        try:
            piece = next(self._pieces, None)
        except Corrupt as error:
            self._judged(error)
            raise
        if piece is None:
            self._judged(None)
        return piece

    def close(self) -> None:
        self._body.close()
