"""One log line for each pull: its requests together, from the first manifest to the last blob."""

import atexit
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from proxy.record import BROKEN_OFF, CLIENT_LEFT, SERVED, Exchange, Recorder
from proxy.story import ANSWERED

log = logging.getLogger("kuik.pull")

QUIET = 3.0
"""Seconds without a request for an image after which its pull is taken to be over."""
_MOST_NAMES = 3
_MOST_NOTES = 4


@dataclass(slots=True)
class Pull:
    """What came of one repository's requests. `last` is when the latest one ended."""

    image: str
    begun: float
    last: float
    under_way: int = 0
    names: dict[str, None] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)
    kinds: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    read: bool = False

    def add(self, exchange: Exchange) -> None:
        """One more request ended."""
        if exchange.rehearsed:
            return
        for asked in exchange.asked:
            if asked.outcome != ANSWERED and exchange.outcome in (SERVED, CLIENT_LEFT, BROKEN_OFF):
                self.notes[f"{asked.source}: {asked.outcome}"] = None
        for turn in exchange.resumed:
            at = f"at byte {turn.at}"
            self.notes[f"{turn.broken} broke off {at} ({turn.outcome}), {turn.source} went on"] = None
        if exchange.outcome != SERVED:
            return
        self.kinds[exchange.kind] += 1
        self.read = self.read or exchange.method == "GET"
        if exchange.kind == "manifests":
            self.names[exchange.what] = None
        self.sources[exchange.source] += 0
        for source, count in exchange.shares():
            self.sources[source] += count

    def line(self) -> str:
        """In words; empty when nothing was served, which is told elsewhere."""
        if not self.kinds:
            return ""
        names = list(self.names)
        image = " ".join(names[:_MOST_NAMES]) + (f" and {len(names) - _MOST_NAMES} more" if len(names) > 3 else "")
        image = image or f"blobs of {self.image}"
        done = "pulled" if self.kinds["blobs"] else "told the manifest of" if self.read else "looked up"
        count = self.kinds["blobs"]
        blobs = f"{count} blob{'s' if count > 1 else ''}, " if count else ""
        sources = ", ".join(f"{name} {_size(given)}" for name, given in self.sources.most_common())
        notes = "; ".join(list(self.notes)[:_MOST_NOTES])
        total = f"{blobs}{_size(self.sources.total())} in {self.last - self.begun:.2f} s"
        return f"{done} {image}: {total} from {sources}" + (f" ({notes})" if notes else "")

    def fields(self) -> dict[str, object]:
        """For a machine."""
        return {
            "image": self.image,
            "names": list(self.names),
            "bytes": self.sources.total(),
            "seconds": round(self.last - self.begun, 3),
            "sources": dict(self.sources),
            "requests": dict(self.kinds),
            "notes": list(self.notes),
        }


class Pulls:
    """A Recorder that writes the lines; requests for one repository at a time are taken for one pull."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, quiet: float = QUIET) -> None:
        self._clock = clock
        self._quiet = quiet
        self._pulls: dict[str, Pull] = {}
        self._lock = threading.Lock()
        self._writes = False

    def begun(self) -> None:
        """See Recorder: nothing is known of it yet."""

    def asks(self, image: str) -> None:
        """See Recorder."""
        now = self._clock()
        with self._lock:
            self._pulls.setdefault(image, Pull(image, now, now)).under_way += 1
            if self._writes:
                return
            self._writes = True
        atexit.register(self.write, everything=True)
        threading.Thread(target=self._run, daemon=True, name="pulls").start()

    def ended(self, exchange: Exchange) -> None:
        """See Recorder."""
        with self._lock:
            pull = self._pulls.get(exchange.image)
            if pull:
                pull.under_way -= 1
                pull.last = self._clock()
                pull.add(exchange)

    def write(self, *, everything: bool = False) -> None:
        """Write the lines of pulls that are over, or of all."""
        due = self._clock() - self._quiet
        with self._lock:
            over = [pull for pull in self._pulls.values() if everything or (not pull.under_way and pull.last <= due)]
            for pull in over:
                del self._pulls[pull.image]
        for pull in over:
            if line := pull.line():
                log.info("%s", line, extra={"fields": pull.fields()})

    def _run(self) -> None:
        while True:
            time.sleep(self._quiet / 3)
            self.write()


class Several:
    """Tells every one of its Recorders."""

    def __init__(self, recorders: Sequence[Recorder]) -> None:
        self._recorders = recorders

    def begun(self) -> None:
        """See Recorder."""
        for one in self._recorders:
            one.begun()

    def asks(self, image: str) -> None:
        """See Recorder."""
        for one in self._recorders:
            one.asks(image)

    def ended(self, exchange: Exchange) -> None:
        """See Recorder."""
        for one in self._recorders:
            one.ended(exchange)


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"
