"""What `/readyz` says of a component's parts: sources with their breakers, and the spool's disk."""

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from proxy.breaker import Breaker
from telemetry.health import Check

_LOOK_EVERY = 10.0
_HEARD_WITHIN = 15.0
_MOST_SHOWN = 20


def sources(
    always: Iterable[str], open_ones: Mapping[str, Breaker], now: float, asked_always: str = "asked when needed"
) -> Check:
    """Each source and how it is; `now` is of the breakers' clock. A source that fails makes nobody unready.

    A proxy with dead sources still helps: it asks the others, and upstream, and nobody else would answer instead.
    """
    shown: dict[str, Any] = dict.fromkeys(always, asked_always)
    for name, breaker in list(open_ones.items())[:_MOST_SHOWN]:
        shown[name] = {
            "state": "left alone",
            "for seconds": round(now - breaker.since, 1),
            "asked again in seconds": round(max(0.0, breaker.asked_from - now), 1),
            "failures": breaker.failures,
            "why": breaker.why,
        }
    failing = len(open_ones)
    message = f"{failing} left alone, since {'it fails' if failing == 1 else 'they fail'}" if failing else ""
    return Check(degraded=failing > 0, message=message, facts={"sources": shown})


class Heard:
    """Whether the API server was heard: the shield waits for that a while after its start, and then serves without it.

    What `without` says cannot be done then; it must not be worse than to have no shield at all.
    """

    def __init__(self, synced: Callable[[], bool], without: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._synced = synced
        self._without = without
        self._clock = clock
        self._begun = clock()

    def check(self) -> Check:
        """Not ready at first, degraded later."""
        if self._synced():
            return Check()
        waited = self._clock() - self._begun
        if waited < _HEARD_WITHIN:
            return Check(ready=False, message="not heard of the API server yet")
        return Check(degraded=True, message=f"nothing was heard of the API server for {waited:.0f} s: {self._without}")


class Disk:
    """Whether a folder can be written, looked at seldom and by one thread at a time: a disk may hang."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._file = folder / f".probe-{os.getpid()}"
        self._clock = clock
        self._looking = threading.Lock()
        self._begun = float("-inf")
        self._last = Check()

    def check(self) -> Check:
        """Never unready: a shield that cannot keep anything still asks upstream once for all who ask together."""
        if not self._looking.acquire(blocking=False):
            waited = self._clock() - self._begun
            return replace(self._last, degraded=True, message=f"the disk did not answer for {waited:.0f} s")
        try:
            if self._clock() >= self._begun + _LOOK_EVERY:
                self._begun = self._clock()
                self._last = self._look()
            return self._last
        finally:
            self._looking.release()

    def _look(self) -> Check:
        try:
            self._file.write_bytes(b"kuik")
            self._file.unlink()
        except OSError as error:
            told = f"nothing can be kept ({error.strerror}): everything comes from upstream"
            return Check(degraded=True, message=told)
        return Check()
