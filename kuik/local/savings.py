"""What upstream was spared in local mode: counted where images are served, kept in the store, told by `kuik report`."""

import atexit
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from hooks.savings import Count, together
from kube.types import format_time
from proxy.record import SERVED, Exchange
from proxy.savings import Report, Totals
from proxy.shield.savings import Savings
from registry.watching import Sent

_EVERY = 5.0


class Counted:
    """Counts for the store in `folder`: a Recorder of what is served, and a Watcher of what came from upstream.

    Threads share it. From `start` on the sums are kept in the store, also at the process's end.
    """

    def __init__(self, folder: Path) -> None:
        self._lock = threading.Lock()
        self._served = self._fetched = Totals()
        self._begun = time.monotonic()
        self._process = os.urandom(16).hex()
        self._savings = Savings(_file(folder), lambda: self._fetched)

    def start(self) -> Self:
        """Keep the sums from now on."""
        threading.Thread(target=self._work, daemon=True, name="savings").start()
        atexit.register(self.keep)
        return self

    def keep(self) -> None:
        """Keep the sums now; a disk that takes none costs the numbers, and nothing else."""
        with self._lock:
            served = self._served
        self._savings.add(Report(self._process, int(time.monotonic() - self._begun), served))
        self._savings.keep()

    def begun(self) -> None:
        """See Recorder."""

    def asks(self, image: str) -> None:
        """See Recorder."""

    def ended(self, exchange: Exchange) -> None:
        """See Recorder. All that is served comes from the store or by way of the shield, whose fetches are counted."""
        if exchange.rehearsed:
            return
        got = exchange.kind == "manifests" and exchange.method == "GET" and exchange.outcome == SERVED
        with self._lock:
            self._served = self._served.plus(Totals(exchange.sent, int(got)))

    def asked(self, sent: Sent) -> None:
        """See Watcher."""
        if sent.status and sent.status < 400 and sent.kind == "manifests" and sent.method == "GET":
            with self._lock:
                self._fetched = self._fetched.plus(Totals(0, 1))

    def received(self, registry: str, count: int) -> None:  # noqa: ARG002 - as Watcher has it
        """See Watcher."""
        with self._lock:
            self._fetched = self._fetched.plus(Totals(count))

    def _work(self) -> None:
        while True:
            time.sleep(_EVERY)
            self.keep()


def saved(folder: Path) -> Mapping[str, Any] | None:
    """What was saved by the store in `folder`, as an ImageCache's status says it; None where nobody has counted."""
    if not _file(folder).is_file():
        return None
    found = together([Count.read(Savings(_file(folder), Totals).facts())])
    return {"bytes": found.bytes, "pulls": found.pulls, "since": format_time(found.since)} if found else None


def _file(folder: Path) -> Path:
    return folder / "state" / "savings.json"
