"""What was saved upstream, as one shield adds it up: what node proxies served from the cluster, and what it fetched.

Kept in a file, with each process's last totals beside the sums: so a shield that was killed and knows less again hears
the difference by the next reports, and nothing counts twice.
"""

import atexit
import json
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from proxy.savings import EVERY, Report, Totals
from registry.durable import make_folder, write_whole

MOST_PROCESSES = 8192
"""Processes whose last totals are remembered: those that reported last."""
_MAX_FILE = 4 * 1024 * 1024
_log = logging.getLogger("kuik.savings")


class Savings:
    """The sums; threads share it. `fetched` tells what this process had from upstream since it began; `clock` is the
    time of day, in seconds. One process at a time for a `file`.

    A file that is not there, or cannot be read, begins anew: `since` tells when. Of a process that is not known and
    began before that, only what it serves from now on counts.
    """

    def __init__(
        self,
        file: Path,
        fetched: Callable[[], Totals],
        clock: Callable[[], float] = time.time,
        most: int = MOST_PROCESSES,
    ) -> None:
        self._file = file
        self._fetched = fetched
        self._clock = clock
        self._most = most
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._kept = b""
        self._since = self._complete_since = int(clock())
        self._served = self._fetched_before = Totals()
        self._processes: OrderedDict[str, Totals] = OrderedDict()
        self._read()

    def add(self, report: Report) -> None:
        """Count what the process served since its last report."""
        with self._lock:
            before = self._processes.pop(report.process, None)
            if before is None:
                is_new = self._clock() - report.age >= self._complete_since
                before = Totals() if is_new else report.served
            self._served = self._served.plus(report.served.beyond(before))
            self._processes[report.process] = report.served.highest(before)
            if len(self._processes) > self._most:
                self._processes.popitem(last=False)
                # It may come back: who began before now and is not known is not counted from its begin.
                self._complete_since = int(self._clock())

    def facts(self) -> Mapping[str, Any]:
        """The sums in the form of the facts endpoint."""
        with self._lock:
            fetched, served = self._fetched_before.plus(self._fetched()), self._served
        return {
            "since": datetime.fromtimestamp(self._since, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "servedBytes": served.bytes,
            "servedPulls": served.pulls,
            "fetchedBytes": fetched.bytes,
            "fetchedPulls": fetched.pulls,
        }

    def start(self) -> Self:
        """Keep the file from now on, and at the process's end."""
        threading.Thread(target=self._work, daemon=True, name="savings").start()
        atexit.register(self.keep)
        return self

    def keep(self) -> None:
        """Write the file where something changed; a disk that takes none costs the numbers, and nothing else."""
        with self._writing:
            content = self._document()
            if content == self._kept:
                return
            try:
                make_folder(self._file.parent)
                write_whole(self._file, content)
            except OSError as error:
                _log.warning("cannot keep what was saved upstream: %s", error.strerror or error)
            else:
                self._kept = content

    def _work(self) -> None:
        while True:
            self.keep()
            time.sleep(EVERY)

    def _document(self) -> bytes:
        with self._lock:
            fetched = self._fetched_before.plus(self._fetched())
            document = {
                "since": self._since,
                "completeSince": self._complete_since,
                "served": _written(self._served),
                "fetched": _written(fetched),
                "processes": {process: _written(totals) for process, totals in self._processes.items()},
            }
        return json.dumps(document, separators=(",", ":")).encode()

    def _read(self) -> None:
        try:
            with self._file.open("rb") as file:
                document = json.loads(file.read(_MAX_FILE))
            since, complete = int(document["since"]), int(document["completeSince"])
            datetime.fromtimestamp(since, UTC)
            served, fetched = Totals.read(document["served"]), Totals.read(document["fetched"])
            processes = OrderedDict((str(name), Totals.read(said)) for name, said in document["processes"].items())
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
            _log.warning("what was saved upstream is counted anew: %s: %s", self._file.name, type(error).__name__)
            return
        self._since, self._complete_since = since, complete
        self._served, self._fetched_before, self._processes = served, fetched, processes


def _written(totals: Totals) -> dict[str, int]:
    return {"bytes": totals.bytes, "pulls": totals.pulls}
