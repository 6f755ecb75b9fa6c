"""Every byte of a volume, hashed again within the period, by a thread of its own, so that looks never wait for it."""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from kuik.keeper.hashes import Hashes
from kuik.keeper.hashing import Pace, wrong
from kuik.keeper.memory import Memory
from kuik.keeper.tally import Tally
from kuik.keeper.volume import Volume
from registry.digest import Digest
from registry.errors import NotFound, RegistryError
from registry.manifest import Descriptor
from registry.reference import Reference

_log = logging.getLogger("kuik.keeper")

QUICKEST = 50 << 20
"""Bytes a second at most, which bytes that were never proven are hashed with."""
SLOWEST = 1 << 20
_REST = 1.0
_PASS = 60.0
"""Seconds after which it is looked again what is most due."""
_KEPT_EVERY = 60.0
_AGAIN = 600.0
"""Seconds after which it is looked whether somebody has mended what is damaged."""


@dataclass
class _Part:
    """A blob or manifest, a place where the registry gives it, and the images (by uid) that it belongs to."""

    descriptor: Descriptor
    place: Reference
    images: set[str] = field(default_factory=set)


@dataclass
class Proofs:
    """What is known of the bytes of a volume. `round` hashes what is due; all else is for another thread.

    `period` gives the seconds within which each byte is to be hashed; `now` tells moments, `monotonic` waits.
    """

    volume: Volume
    memory: Memory
    tally: Tally
    ends: threading.Event
    period: Callable[[], float]
    monotonic: Callable[[], float]
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    pace: Pace = field(default_factory=lambda: Pace(QUICKEST))
    _hashes: Hashes | None = None
    _parts: dict[Digest, _Part] = field(default_factory=dict)
    _images: dict[str, tuple[Digest, ...]] = field(default_factory=dict)
    _damaged: dict[Digest, tuple[str, float]] = field(default_factory=dict)
    _stirred: set[str] = field(default_factory=set)
    _kept: float = 0.0
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def run(self) -> None:
        """Round after round until the process ends."""
        while not self.ends.wait(_REST):
            self.round()

    def round(self) -> None:
        """Hash what is due, longest unproven first; ends after a while, as more may be due by then."""
        until = self.monotonic() + _PASS
        for part in self._due():
            if self.ends.is_set() or self.monotonic() > until:
                break
            try:
                self._prove(part)
            except RegistryError as error:  # the writer is away
                _log.info("%s is hashed later: %s", part.descriptor.digest, error)
                break
        self._keep()

    def wants(self, image: str, place: Reference, parts: Iterable[Descriptor]) -> None:
        """The image `image` (a uid), whose place is that, is made of these parts, which are to be hashed."""
        wanted = {part.digest: part for part in parts if not part.urls}
        with self._lock:
            if self._images.get(image) == tuple(wanted):
                return
            self.drop([image])
            self._images[image] = tuple(wanted)
            for digest, descriptor in wanted.items():
                self._parts.setdefault(digest, _Part(descriptor, place)).images.add(image)

    def drop(self, images: Iterable[str]) -> None:
        """These images are there no more."""
        with self._lock:
            for image in images:
                for digest in self._images.pop(image, ()):
                    part = self._parts[digest]
                    part.images.discard(image)
                    if not part.images:
                        del self._parts[digest]
                        self._damaged.pop(digest, None)

    @property
    def images(self) -> frozenset[str]:
        """Those that were told of."""
        with self._lock:
            return frozenset(self._images)

    def damage(self, parts: Iterable[Descriptor]) -> tuple[Descriptor, str] | None:
        """The first of these parts of which wrong bytes are stored, and what is wrong."""
        with self._lock:
            return next(((part, self._damaged[part.digest][0]) for part in parts if part.digest in self._damaged), None)

    def mended(self, digest: Digest) -> None:
        """Its bytes are others by now: they are to be proven."""
        with self._lock:
            self._damaged.pop(digest, None)
            self._known().forget(digest)

    def oldest(self, parts: Iterable[Descriptor]) -> datetime | None:
        """The moment from which on each of these parts was proven; None while one was not."""
        with self._lock:
            return self._known().oldest(parts, self.now())

    def stirred(self) -> frozenset[str]:
        """The images of which there is news since the last call."""
        with self._lock:
            found, self._stirred = frozenset(self._stirred), set()
            return found

    def _due(self) -> list[_Part]:
        """What was not proven within half of the period, so that the other half is left for what delays it."""
        now = self.now()
        since = now - timedelta(seconds=self.period()) / 2
        with self._lock:
            away = {digest for digest, (_, at) in self._damaged.items() if self.monotonic() - at < _AGAIN}
            proven = {digest: self._known().since(digest, now) for digest in self._parts.keys() - away}
            self._known().forget_before(now - 4 * timedelta(seconds=self.period()))
            self.pace.rate = rate(sum(part.descriptor.size for part in self._parts.values()), self.period())
            return [self._parts[digest] for digest in in_turn(proven, since)]

    def _prove(self, part: _Part) -> None:
        digest = part.descriptor.digest
        with self._lock:
            before = self._known().since(digest, self.now())
        pace = self.pace if before else Pace(QUICKEST, self.pace.sleep, self.pace.clock)
        begun = self.now()
        gone = False
        try:
            problem = self._wrong(part, pace) and self._wrong(part, pace)  # once more: memory may lie, too
        except NotFound:
            gone, problem = True, ""  # a look sees that by itself
        self.tally.hashed(0 if gone else part.descriptor.size)
        with self._lock:
            if digest not in self._parts:
                return
            self._damaged.pop(digest, None)
            if gone or problem:
                self._known().forget(digest)
            else:
                self._known().proven(digest, begun)
            if problem:
                self._damaged[digest] = problem, self.monotonic()
            news = (one for one in part.images if (gone and before) or problem or self._is_proven(one))
            self._stirred.update(news)

    def _wrong(self, part: _Part, pace: Pace) -> str:
        return wrong(part.descriptor, part.place, self.volume.client, self.volume.folder, pace)

    def _is_proven(self, image: str) -> bool:
        now = self.now()
        return all(self._known().since(digest, now) for digest in self._images.get(image, ()))

    def _known(self) -> Hashes:
        if self._hashes is None:
            self._hashes = self.memory.hashes()
        return self._hashes

    def _keep(self) -> None:
        """Keep the proofs on the volume, so that a restart goes on."""
        with self._lock:
            known = self._known()
            if not known.changed or self.monotonic() - self._kept < _KEPT_EVERY:
                return
            self._kept, known.changed = self.monotonic(), False
        try:
            self.memory.keep_hashes(known)
        except RegistryError as error:
            _log.warning("%s", error)


def in_turn(proven: Mapping[Digest, datetime | None], since: datetime) -> list[Digest]:
    """What was not proven since that moment: what never was first, then the longest unproven."""
    due = [(at is not None, at or since, digest) for digest, at in proven.items() if at is None or at < since]
    return [digest for _, _, digest in sorted(due)]


def rate(size: int, period: float) -> float:
    """Bytes a second with which `size` bytes are hashed once in half of the period of so many seconds, and a bit more
    so that it is caught up with what came late."""
    return min(max(SLOWEST, 1.25 * size / max(period / 2, 1.0)), QUICKEST)
