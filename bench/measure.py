"""What a process costs: seconds on the wall, seconds of CPU, and memory at its highest, its descendants included."""

import os
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.rig.processes import stop

_PROC = Path("/proc")
_TICK = os.sysconf("SC_CLK_TCK")
_SAMPLE_SECONDS = 0.05
_FIRST_SAMPLE_SECONDS = 0.002
_COMMAND_SECONDS = 300.0
MIB = 1 << 20
GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Cost:
    """`wall` and `cpu` in seconds; `peak` is the highest PSS in bytes that was seen."""

    wall: float
    cpu: float
    peak: int


class CommandFailed(RuntimeError):
    """A program that is measured ended with an error; the message holds its last words."""


def family(pid: int) -> list[int]:
    """The process and its descendants, as far as they are there."""
    found = [pid]
    for one in found:
        with suppress(OSError):  # it has ended meanwhile
            for task in (_PROC / str(one) / "task").iterdir():
                with suppress(OSError):
                    found += [int(child) for child in (task / "children").read_text().split()]
    return found


def cpu_seconds(pid: int) -> float:
    """CPU time of the process and its descendants so far, also of those that ended and were waited for."""
    return sum(map(_cpu_ticks, family(pid))) / _TICK


def _cpu_ticks(pid: int) -> int:
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return 0
    # The name in parentheses may hold anything; utime, stime, cutime and cstime are fields 14 to 17 (proc(5)).
    return sum(map(int, stat.rpartition(")")[2].split()[11:15]))


def pss(pid: int) -> int:
    """Bytes of memory of the process and its descendants; pages that several share are counted once."""
    return sum(map(_pss_of_one, family(pid)))


def _pss_of_one(pid: int) -> int:
    with suppress(OSError):
        for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


class Peak:
    """The highest PSS of a process's family while this context is open.

    It is looked at 20 times a second, at first more often, so that a program that ends at once is seen at all.
    """

    def __init__(self, pid: int) -> None:
        self.bytes = 0
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True, name="peak")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        pause = _FIRST_SAMPLE_SECONDS
        while True:
            self.bytes = max(self.bytes, pss(self._pid))
            if self._ended.wait(pause):
                return
            pause = min(pause * 1.1, _SAMPLE_SECONDS)


class Meter:
    """Fills in while `measured` is open; `cost` may be asked for afterwards."""

    cost: Cost = Cost(0.0, 0.0, 0)


@contextmanager
def measured(pid: int) -> Iterator[Meter]:
    """What a server that runs costs while the body of this runs."""
    meter = Meter()
    cpu = cpu_seconds(pid)
    with Peak(pid) as peak:
        begun = time.perf_counter()
        yield meter
        wall = time.perf_counter() - begun
    meter.cost = Cost(wall, cpu_seconds(pid) - cpu, peak.bytes)


def run(command: Sequence[str], seconds: float = _COMMAND_SECONDS) -> Cost:
    """Run a command to its end; raises CommandFailed, also when it takes longer than `seconds`."""
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    overdue = threading.Timer(seconds, process.kill)
    overdue.start()
    try:
        with Peak(process.pid) as peak:
            said = process.stdout.read() if process.stdout else b""
            # wait4 and not wait: it tells the CPU time of the command and of all that it waited for.
            _, status, used = os.wait4(process.pid, 0)
            wall = time.perf_counter() - begun
            process.returncode = os.waitstatus_to_exitcode(status)
    finally:
        overdue.cancel()
        stop(process)
    if process.returncode:
        words = said.decode(errors="replace").strip()[-500:]
        raise CommandFailed(f"{command[0]} ended with {process.returncode}: {words}")
    return Cost(wall, used.ru_utime + used.ru_stime, peak.bytes)
