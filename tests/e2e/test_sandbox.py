"""Nothing is left of a run, however it ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.rig import sandbox
from tests.rig.processes import wait_until

_RUN = """\
import sys
from pathlib import Path
from tests.e2e.rig import sandbox
sandbox.run(sys.argv[2:], Path(sys.argv[1]))
"""
_LEAVES_MUCH = """\
for group; do mkdir -p "$group/deep/deeper"; done
mount -t tmpfs none /mnt
ip link add left type veth peer name over
setsid sleep 4711 &
sleep 0.2
touch "$KUIK_E2E_FOLDER/ready"
wait
"""


def left(folder: Path) -> list[str]:
    """What is there of a run."""
    groups = [str(place / folder.name) for place in sandbox.hierarchies() if (place / folder.name).exists()]
    processes = [line for line in subprocess.check_output(["ps", "ax"], text=True).splitlines() if "sleep 4711" in line]
    return groups + processes + ([str(folder)] if folder.exists() else [])


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_is_left_of_a_run_that_is_killed(tmp_path: Path, by: signal.Signals) -> None:
    folder = tmp_path / f"kuik-e2e-killed-{os.getpid()}-{by}"
    command = [sys.executable, "-c", _RUN, str(folder), "sh", "-c", _LEAVES_MUCH, "sh"]
    with subprocess.Popen([*command, *(str(place / folder.name) for place in sandbox.hierarchies())]) as running:
        try:
            wait_until((folder / "ready").exists, "the run has made its things", 20)
            assert len(left(folder)) >= 2 + len(sandbox.hierarchies()), "folder, process and cgroups"
        finally:
            running.send_signal(by)
    wait_until(lambda: not left(folder), "it is gone", 20)
    assert not subprocess.run(["ip", "link", "show", "left"], capture_output=True, check=False).stdout


def test_the_exit_status_is_the_commands(tmp_path: Path) -> None:
    assert sandbox.run(["sh", "-c", "exit 3"], tmp_path / "kuik-e2e-three") == 3
