"""How long each source is waited for while others may have the answer, and how a source in this process is hurried."""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from proxy.errors import NotAsked
from proxy.sources.message import Answer, Request, Source
from registry.response import TimedOut

FIRST, TOTAL, LEAST = 1.0, 1.4, 0.3
"""Seconds for the first source, for all together, and for each of the later ones."""

_THREADS = 32
_HOSTS = 1000
_LEFT_ALONE = 5.0


def patience(spent: float) -> float:
    """How many seconds the next source has to begin its answer, when others were waited for `spent` seconds already."""
    return max(LEAST, min(FIRST, TOTAL - spent))


@runtime_checkable
class Probed(Protocol):
    """A source that can be asked for a sign of life."""

    def is_alive(self) -> bool:
        """Whether it answers at all, within a moment."""


def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS, "patience")


@dataclass(frozen=True)
class Patient:
    """A source in this process, which cannot be hurried: it is left alone once the request's patience is over.

    What it says too late is not wasted where it keeps what it fetched. It starts no thread before it is asked.
    """

    source: Source
    _threads: ThreadPoolExecutor = field(default_factory=_pool)
    _late: dict[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The source's own."""
        return self.source.name

    def peer(self, request: Request, /) -> str:
        """The source's own."""
        return self.source.peer(request)

    def is_alive(self) -> bool:
        """It lives as long as this process."""
        return True

    def fetch(self, request: Request) -> Answer:
        """Its answer; raises TimedOut when it does not come in time, and NotAsked for some seconds after that."""
        host, now = request.route.host, time.monotonic()
        if request.patience is None:
            return self.source.fetch(request)
        if self._late.get(host, now) > now:
            raise NotAsked(f"{self.name} did not answer about {host} in time a moment ago")
        try:
            return _within(request.patience, self._threads.submit(self.source.fetch, request), self.name)
        except TimedOut:
            if len(self._late) > _HOSTS:  # clients may name any host
                self._late.clear()
            self._late[host] = time.monotonic() + _LEFT_ALONE
            raise


def _within(seconds: float, coming: "Future[Answer]", name: str) -> Answer:
    try:
        return coming.result(seconds)
    except TimeoutError:
        if coming.done():  # the source's own word
            raise
        coming.add_done_callback(_close)
        raise TimedOut(f"{name} did not answer within {seconds:.1f} s") from None


def _close(coming: "Future[Answer]") -> None:
    if not coming.cancelled() and coming.exception() is None:
        coming.result().body.close()
