"""What is measured of programs whose cost is known."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench.measure import MIB, CommandFailed, cpu_seconds, family, measured, pss, run
from tests.rig.processes import stop

HELD = 64
HOLD = f"held = bytearray(b'x' * {HELD * MIB})"
WAIT = "print('ready', flush=True); import sys; sys.stdin.read()"
BURN = "import time\nwhile time.process_time() < 0.5: pass"
CHILD = "import subprocess, sys; subprocess.run([sys.executable, '-c', {!r}], check=True)"


@contextmanager
def program(text: str) -> Iterator[int]:
    """A Python program that says when it is ready, and ends with its standard input."""
    command = [sys.executable, "-c", text]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        yield process.pid
    finally:
        stop(process)


def test_memory_is_counted_with_the_children() -> None:
    with (
        program(WAIT) as small,
        program(f"{HOLD}; {WAIT}") as large,
        program(CHILD.format(f"{HOLD}; {WAIT}")) as parent,
    ):
        assert pss(small) < HELD * MIB <= pss(large)
        assert len(family(large)) == 1
        assert len(family(parent)) == 2
        assert pss(parent) > pss(large)


def test_shared_pages_are_counted_once() -> None:
    forked = f"import os; {HOLD}\nif os.fork(): {WAIT}\nelse: os.read(0, 1)"
    with program(forked) as parent:
        assert len(family(parent)) == 2
        assert HELD * MIB <= pss(parent) < 2 * HELD * MIB


def test_cpu_time_of_a_child_that_ended_counts() -> None:
    with program(f"{CHILD.format(BURN)}; {WAIT}") as pid:
        assert cpu_seconds(pid) >= 0.45  # it is told in hundredths, rounded down


def test_a_process_that_is_gone_costs_nothing() -> None:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    assert (pss(done.pid), cpu_seconds(done.pid), family(done.pid)) == (0, 0.0, [done.pid])


def test_a_server_is_measured_only_while_it_is_looked_at() -> None:
    before = cpu_seconds(os.getpid())
    with measured(os.getpid()) as meter:
        until = time.process_time() + 0.3
        while time.process_time() < until:
            pass
    assert 0.28 <= meter.cost.cpu <= cpu_seconds(os.getpid()) - before + 0.02
    assert meter.cost.wall >= 0.1  # other threads of this process may have burnt a part of it
    assert meter.cost.peak > MIB


@pytest.mark.parametrize("form", ["{}", "import subprocess, sys; subprocess.run([sys.executable, '-c', {!r}])"])
def test_a_command_is_measured_with_its_children(form: str) -> None:
    cost = run([sys.executable, "-c", form.format(f"{HOLD}\n{BURN}")])
    assert cost.cpu >= 0.5
    assert cost.wall >= 0.4
    assert cost.peak >= HELD * MIB


def test_a_command_that_ends_at_once_is_seen() -> None:
    assert run([sys.executable, "-c", ""]).peak > MIB


def test_a_command_that_fails_is_told_with_its_last_words() -> None:
    with pytest.raises(CommandFailed, match="ended with 3: no such thing"):
        run([sys.executable, "-c", "import sys; print('no such thing', file=sys.stderr); sys.exit(3)"])


def test_a_command_that_does_not_end_is_ended() -> None:
    with pytest.raises(CommandFailed, match="ended with -9"):
        run([sys.executable, "-c", "import time; time.sleep(60)"], seconds=0.2)
