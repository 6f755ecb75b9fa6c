"""Log lines for a person who follows them, or as JSON for a machine; what repeats itself is told seldom."""

import argparse
import json
import logging
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime

LEVELS = ("debug", "info", "warning", "error")
STYLES = ("text", "json")
SILENCE = 60.0
"""Seconds for which the same trouble is counted and not told again."""
_REMEMBERED = 1000


class Seldom(logging.Filter):
    """Lets a record with `repeats` (any key) pass once in SILENCE seconds, then with the number that was held back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._told: OrderedDict[object, tuple[float, int]] = OrderedDict()
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to write it; a record without `repeats` always is."""
        key = getattr(record, "repeats", None)
        if key is None:
            return True
        now = self._clock()
        with self._lock:
            when, held = self._told.get(key, (float("-inf"), 0))
            if now - when < SILENCE:
                self._told[key] = (when, held + 1)
                return False
            self._told[key] = (now, 0)
            self._told.move_to_end(key)
            if len(self._told) > _REMEMBERED:
                self._told.popitem(last=False)
        if held:
            record.msg, record.args = f"{record.getMessage()} ({held} more times in {now - when:.0f} s)", ()
        return True


class Lines(logging.Formatter):
    """`2026-01-31T12:00:00.123Z INFO what happened`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and those of a traceback."""
        return f"{_moment(record)} {record.levelname} {super().format(record)}"


class Documents(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and the record's `fields`."""

    def format(self, record: logging.LogRecord) -> str:
        """The object."""
        shown = {"time": _moment(record), "level": record.levelname.lower(), "logger": record.name}
        shown |= {"message": record.getMessage()} | getattr(record, "fields", {})
        if record.exc_info:
            shown["traceback"] = self.formatException(record.exc_info)
        return json.dumps(shown, default=str)


def set_up(level: str = "info", style: str = "text") -> None:
    """Write to standard error, from the given level on; in place of what was set up before."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Documents() if style == "json" else Lines())
    handler.addFilter(Seldom())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def add_options(options: argparse.ArgumentParser) -> None:
    """`--log-level` and `--log-format`."""
    options.add_argument("--log-level", choices=LEVELS, default="info", help="debug tells of every request")
    options.add_argument("--log-format", choices=STYLES, default="text")


def _moment(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
