"""What tags named when upstream was last heard of them, kept beside the spool: a restart while upstream is dead forgets
nothing of what would have been told.

The file is a hint. One that is damaged, lost or not to be written costs what it would have told, and nothing else.
"""

import atexit
import json
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from registry.digest import Digest
from registry.durable import locked, make_folder, write_whole
from registry.manifest import INDEX_TYPES, MANIFEST_TYPES, MAX_MANIFEST, Descriptor
from registry.reference import Reference

MOST_TAGS = 5_000
EVERY = 5.0
"""Seconds between two looks whether there is something to write."""
_MAX_FILE = 8 * 1024 * 1024
_VERSION = 1
_log = logging.getLogger("kuik.shield")


@dataclass(frozen=True, slots=True)
class Heard:
    """What upstream said of a tag: where it points, None where it is gone, and when that was, in Unix time."""

    descriptor: Descriptor | None
    at: float


Tags = Mapping[Reference, Heard]


class Remembered:
    """Tags by their references; threads share it, and processes that share the file. `clock` gives Unix time."""

    def __init__(self, file: Path, clock: Callable[[], float] = time.time, most: int = MOST_TAGS) -> None:
        self._file = file
        self._clock = clock
        self._most = most
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._changed = False
        self._tags = OrderedDict(self._read())

    def tags(self) -> Mapping[Reference, Descriptor]:
        """Where tags point, as far as that is known, those first that were heard of longest ago."""
        with self._lock:
            return {reference: one.descriptor for reference, one in self._tags.items() if one.descriptor}

    def note(self, reference: Reference, descriptor: Descriptor | None) -> None:
        """Upstream said just now where a tag points, or that it is gone."""
        with self._lock:
            before = self._tags.get(reference)
            if before is None and descriptor is None:
                return
            self._changed |= before is None or before.descriptor != descriptor
            self._tags[reference] = Heard(descriptor, self._clock())
            self._tags.move_to_end(reference)
            if len(self._tags) > self._most:
                self._tags.popitem(last=False)

    def start(self) -> Self:
        """Keep the file from now on, and at the process's end."""
        threading.Thread(target=self._work, daemon=True, name="remembered").start()
        atexit.register(self.keep)
        return self

    def keep(self) -> None:
        """Write the file where something changed, together with what another process heard later."""
        with self._writing:
            with self._lock:
                if not self._changed:
                    return
                self._changed, mine = False, dict(self._tags)
            try:
                make_folder(self._file.parent)
                with locked(self._file.with_name(f".{self._file.name}.lock"), exclusive=True):
                    write_whole(self._file, written(latest(mine, self._read(), self._most)))
            except OSError as error:
                _log.warning("what tags name is not kept over a restart: %s", error.strerror or error)
                with self._lock:
                    self._changed = True

    def _work(self) -> None:
        while True:
            time.sleep(EVERY)
            self.keep()

    def _read(self) -> Tags:
        try:
            with self._file.open("rb") as file:
                return latest(read(file.read(_MAX_FILE + 1), self._clock()), {}, self._most)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
            _log.warning("what tags named before is not known: %s: %s", self._file.name, type(error).__name__)
            return {}


def latest(one: Tags, other: Tags, most: int) -> Tags:
    """What was heard later of each tag, of at most so many, those last that were heard of last."""
    joined = dict(one)
    for reference, heard in other.items():
        if reference not in joined or joined[reference].at < heard.at:
            joined[reference] = heard
    return dict(sorted(joined.items(), key=lambda item: item[1].at)[-most:])


def written(tags: Tags) -> bytes:
    """As it is kept in a file."""
    entries = [
        [str(reference), heard.at, *((str(one.digest), one.media_type, one.size) if (one := heard.descriptor) else ())]
        for reference, heard in tags.items()
    ]
    return json.dumps({"version": _VERSION, "tags": entries}, separators=(",", ":")).encode()


def read(content: bytes, now: float) -> Tags:
    """What was kept; what a clock says that was ahead counts as of now.

    Raises ValueError, TypeError, KeyError, AttributeError, OverflowError or RecursionError for anything else.
    """
    document = json.loads(content)
    if document["version"] != _VERSION:
        raise ValueError("another version")
    found: Iterable[Any] = document["tags"]
    return {Reference.parse(name): Heard(_descriptor(*said), min(float(at), now)) for name, at, *said in found}


def _descriptor(*said: Any) -> Descriptor | None:
    if not said:
        return None
    digest, media_type, size = said
    if media_type not in INDEX_TYPES | MANIFEST_TYPES or not 0 < int(size) <= MAX_MANIFEST:
        raise ValueError("no manifest")
    return Descriptor(str(media_type), Digest.parse(digest), int(size))
