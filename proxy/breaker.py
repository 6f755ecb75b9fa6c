"""Breakers: a source that does not answer costs one time-out, not one per request."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from proxy.errors import Busy, NotAsked
from registry.errors import RegistryError, ServerFailure, TLSFailure, Unreachable

FIRST_PAUSE = 5.0
LONGEST_PAUSE = 60.0
FAILURES_TOLERATED = 2
"""5xx answers in a row that do not yet mean that the whole source is down."""

REMEMBERED = 1000
"""Failing sources at once; clients may name any host."""


@dataclass(frozen=True, slots=True)
class Breaker:
    """What is known of one source's health. Times are seconds of the caller's monotonic clock.

    An open one is so `since` its first failure, and `why` is the last.
    """

    failures: int = 0
    pause: float = 0.0
    paused_at: float = float("-inf")
    asked_from: float = float("-inf")
    why: str = ""
    since: float = float("-inf")

    @property
    def is_open(self) -> bool:
        """Whether the source is left alone, but for one request in a pause."""
        return self.pause > 0

    def allows(self, now: float) -> bool:
        """Whether the source may be asked."""
        return now >= self.asked_from

    def asked(self, now: float) -> "Breaker":
        """State after a request was let through: one that is on trial is asked once in a pause, not by everybody."""
        return replace(self, asked_from=now + self.pause) if self.pause else self

    def failed(self, begun: float, now: float, why: str = "", *, answered: bool) -> "Breaker":
        """State after a request begun at `begun` failed; `answered` when the source spoke (5xx): a few are tolerated.

        What was begun before the pause tells nothing new, or a herd would bring the longest pause at once.
        """
        if begun < self.paused_at:
            return self
        failures = self.failures + 1
        if answered and not self.pause and failures <= FAILURES_TOLERATED:
            return replace(self, failures=failures)
        pause = min(self.pause * 2, LONGEST_PAUSE) if self.pause else FIRST_PAUSE
        return Breaker(failures, pause, now, now + pause, why, self.since if self.is_open else now)


HEALTHY = Breaker()


class Breakers:
    """The breakers of several sources by name, for many threads. `clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, Breaker] = {}
        self._lock = threading.Lock()

    def open_ones(self) -> Mapping[str, Breaker]:
        """Those that are open now, by name."""
        with self._lock:
            return {name: breaker for name, breaker in self._known.items() if breaker.is_open}

    @contextmanager
    def guard(self, source: str, about: str = "", trial: Callable[[], None] | None = None) -> Iterator[None]:
        """Ask `source` inside this: raises NotAsked where it is left alone, and learns from what happens.

        A source that is silent is silent for everybody; one that answers 5xx or is busy may be so only `about` a
        registry behind it, so that is remembered apart. Where it is time to try again and a `trial` is given, that is
        called to begin one elsewhere, and this request is not held up by it.
        """
        begun = self._enter(_names(source, about), trial)
        with self._learning(_names(source, about), begun):
            yield

    @contextmanager
    def resumed(self, source: str, about: str = "") -> Iterator[None]:
        """Ask `source` inside this on trial, which was allowed already."""
        with self._learning(_names(source, about), self._clock()):
            yield

    @contextmanager
    def _learning(self, names: tuple[str, ...], begun: float) -> Iterator[None]:
        try:
            yield
        except NotAsked:  # a breaker further down spoke, not the source
            raise
        except Busy as error:
            self._failed(names[-1], begun, error, answered=False)
            raise
        except ServerFailure as error:
            self._failed(names[-1], begun, error, answered=True)
            raise
        except Unreachable as error:
            self._failed(names[0], begun, error, answered=False)
            raise
        except TLSFailure as error:
            # What is inside of the cluster and has no good certificate costs each request a handshake. Upstream's own
            # word is told each time.
            if len(names) > 1:
                self._failed(names[0], begun, error, answered=False)
            raise
        except RegistryError:  # it is alive, whatever it says
            self._forget(names, begun)
            raise
        self._forget(names, begun)

    def late(self, source: str, error: RegistryError) -> None:
        """A source that had begun an answer went silent, or nearly so, in the middle of it."""
        self._failed(source, self._clock(), error, answered=False)

    def _enter(self, names: tuple[str, ...], trial: Callable[[], None] | None) -> float:
        now, tried = self._clock(), ""
        with self._lock:
            known = {name: self._known[name] for name in names if name in self._known}
            for name, breaker in known.items():
                if not breaker.allows(now):
                    wait = breaker.asked_from - now
                    told = f"{name} did not answer and is asked again in {wait:.0f} s: {breaker.why}"
                    raise NotAsked(told, retry_after=max(wait, 1))
            self._known.update({name: breaker.asked(now) for name, breaker in known.items()})
            tried = next((name for name, breaker in known.items() if breaker.is_open), "")
        if tried and trial:
            trial()
            raise NotAsked(f"{tried} did not answer and is being tried: {known[tried].why}", retry_after=1)
        return now

    def _failed(self, name: str, begun: float, error: RegistryError, *, answered: bool) -> None:
        with self._lock:
            before = self._known.get(name, HEALTHY)
            self._known[name] = before.failed(begun, self._clock(), str(error), answered=answered)
            if len(self._known) > REMEMBERED:
                del self._known[next(iter(self._known))]

    def _forget(self, names: tuple[str, ...], begun: float) -> None:
        """All is well; but what was asked before the source failed, and answered after, says nothing of that."""
        with self._lock:
            for name in names:
                if name in self._known and self._known[name].paused_at <= begun:
                    del self._known[name]


def _names(source: str, about: str) -> tuple[str, ...]:
    return (source, f"{source} ({about})") if about else (source,)
