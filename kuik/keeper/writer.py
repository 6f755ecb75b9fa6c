"""The registry's writer as a process of the keeper's, and the collection of garbage while it is stopped."""

import logging
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO, cast

_log = logging.getLogger("kuik.keeper")
_DRAIN = 60.0
"""Seconds for the writer to end what is under way: it is told to take 30."""
_SERVE = "serve"
_DELETED = re.compile(r"^blob eligible for deletion:", re.MULTILINE)
_EMPTY = re.compile(
    r"^failed to garbage collect: failed to mark: \w+: Path not found: /docker/registry/v2/repositories$", re.MULTILINE
)
"""What distribution ends with, as with an error, where nothing was ever stored."""
_LAST_WORDS = 2000
_LOOK = 0.2


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection did: `blobs` that went, and the seconds for which nobody could write. `problem` is empty where
    it came to its end."""

    blobs: int
    seconds: float
    problem: str = ""


class NotCollectable(ValueError):
    """The writer's command does not tell how its garbage is collected."""


class Writer:
    """The writer, started by `command` with `environment`. To be used from one thread, which lives as long as it."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._command = tuple(command)
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; raises OSError where that cannot be done."""
        self._process = subprocess.Popen(_bound(self._command), env=self._environment)

    @property
    def ended(self) -> int | None:
        """Its exit status where it is not there any more."""
        return self._process.poll() if self._process else None

    def stop(self) -> int:
        """End it in order, after what is under way; its exit status."""
        if self._process is None:
            return 0
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            return self._process.wait(_DRAIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def collect(self, longest: float, ends: Callable[[], bool]) -> Collected:
        """Stop the writer, delete what no tag names, start the writer again, whatever became of it.

        Readers go on. The collection itself gets at most `longest` seconds, and is ended too where this process `ends`:
        which leaves blobs for the next one. Raises OSError where the writer cannot be started again.
        """
        command = collector(self._command)
        begun = time.monotonic()
        self.stop()
        try:
            said, problem = _run(_bound(command), self._environment, longest, ends)
        finally:
            if not ends():
                self.start()
        return Collected(len(_DELETED.findall(said)), time.monotonic() - begun, problem)


def collector(command: Sequence[str]) -> Sequence[str]:
    """How the garbage of a writer started by `registry serve CONFIG` is collected; raises NotCollectable."""
    if len(command) < 3 or command[-2] != _SERVE:
        raise NotCollectable(f"{' '.join(command)!r} is not `registry serve CONFIG`: its garbage cannot be collected")
    return (*command[:-2], "garbage-collect", "--delete-untagged", command[-1])


def _run(
    command: Sequence[str], environment: Mapping[str, str], longest: float, ends: Callable[[], bool]
) -> tuple[str, str]:
    """What the command said, and what went wrong."""
    until = time.monotonic() + longest
    with _scratch() as told:
        try:
            process = subprocess.Popen(command, env=environment, stdout=told, stderr=subprocess.STDOUT)
        except OSError as error:
            return "", f"it cannot be run: {error.strerror}"
        while process.poll() is None and time.monotonic() < until and not ends():
            with suppress(subprocess.TimeoutExpired):
                process.wait(_LOOK)
        late = process.poll() is None
        if late:
            process.kill()
            process.wait()
        told.seek(0)
        said = told.read().decode(errors="replace")
    if late:
        return said, "it was ended before it was done, and goes on the next time"
    if process.returncode and not _EMPTY.search(said):
        _log.error("collection ended with %d: %s", process.returncode, said[-_LAST_WORDS:])
        return said, f"it ended with {process.returncode}"
    return said, ""


def _scratch() -> BinaryIO:
    """A file for what is said, in memory where no disk takes it: full disks are what collections are for."""
    try:
        return cast("BinaryIO", tempfile.TemporaryFile())
    except OSError:
        return os.fdopen(os.memfd_create("collection"), "w+b")


def _bound(command: Sequence[str]) -> Sequence[str]:
    return (sys.executable, "-m", "kuik.keeper.bound", str(os.getpid()), *command)
