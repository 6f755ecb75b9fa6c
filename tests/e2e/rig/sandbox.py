"""Namespaces of its own for a run: processes, mounts and addresses in them end with it, however it ends.

The run is a child of a first process (PID 1) in new PID, mount and network namespaces. When that goes, the kernel ends
every process in them, and with the last one mounts and addresses are gone. What the kernel would leave, the folder and
the cgroups, is removed by a cleaner in a session of its own, which waits for a pipe to close: so also after SIGKILL.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parents[3]
CGROUPS = Path("/sys/fs/cgroup")
FOLDER = "KUIK_E2E_FOLDER"
"""The variable that names the folder of a run to what runs in it."""
STAY = "KUIK_E2E_STAY"
"""The variable that is set where a sandbox is to stay when its command has ended."""
_PRIVATE = ("/run", "/var/log", "/var/lib/cni")
"""Places where programs leave things under fixed names: in the sandbox these are empty and its own."""
_DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL")
_UNSHARE = ("unshare", "--pid", "--fork", "--kill-child", "--mount", "--net", "--mount-proc")


def run(command: list[str], folder: Path) -> int:
    """Run a command in a sandbox and return its exit status; nothing is left of it, nor of `folder`."""
    folder.mkdir(parents=True)
    ours, theirs = os.pipe()
    cleaner = os.fork()
    if cleaner == 0:
        os.close(theirs)
        _clean_after(ours, folder)
    os.close(ours)
    # Whoever of us holds the other end lives: unshare and the first process inherit it.
    first = [sys.executable, "-m", "tests.e2e.rig.sandbox", *command]
    environment = os.environ | {FOLDER: str(folder)}
    with subprocess.Popen([*_DIES_WITH_US, *_UNSHARE, *first], env=environment, pass_fds=[theirs]) as running:
        os.close(theirs)
        staying = STAY in os.environ
        if staying:
            Stay(str(ROOT), os.getpid(), running.pid).write(folder)
        with contextlib.nullcontext() if staying else _leaving_interrupts_to_the_run():
            status = running.wait()
    os.waitpid(cleaner, 0)
    return status


@dataclass(frozen=True)
class Stay:
    """A sandbox that stays: whose tree of files it serves, who holds it, and by whose namespaces it is entered."""

    root: str
    holder: int
    entrance: int

    @classmethod
    def of(cls, root: Path) -> tuple[Self, Path] | None:
        """The sandbox that stays for this tree, and its folder."""
        for folder in Path(tempfile.gettempdir()).glob("kuik-e2e-*"):
            with contextlib.suppress(OSError, ValueError, TypeError):
                found = cls(**json.loads((folder / "stay.json").read_text()))
                if found.root == str(root) and Path(f"/proc/{found.holder}").exists():
                    return found, folder
        return None

    def write(self, folder: Path) -> None:
        """Let others find it."""
        (folder / "stay.json").write_text(json.dumps(asdict(self)))

    def enter(self, folder: Path, command: list[str], **environment: str) -> int:
        """Run a command in it, and return its exit status."""
        spaces = {"mount": "mnt", "net": "net", "pid": "pid_for_children"}
        words = [f"--{kind}=/proc/{self.entrance}/ns/{file}" for kind, file in spaces.items()]
        command = ["nsenter", *words, f"--wdns={Path.cwd()}", *command]
        with subprocess.Popen(command, env=os.environ | {FOLDER: str(folder)} | environment) as running:
            return running.wait()

    def end(self) -> None:
        """End it, with all that is in it."""
        os.kill(self.holder, signal.SIGTERM)


def cgroup(folder: Path) -> str:
    """The name of the cgroup, in every hierarchy, below which a run keeps its own."""
    return folder.name


def hierarchies() -> list[Path]:
    """The mounted cgroup hierarchies: one in version 2, in version 1 one for each controller."""
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    return [place for place in CGROUPS.iterdir() if place.is_dir() and not place.is_symlink()]


@contextlib.contextmanager
def _leaving_interrupts_to_the_run() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _clean_after(pipe: int, folder: Path) -> None:
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    try:
        while os.read(pipe, 1):
            pass
        _remove_cgroups(cgroup(folder))
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os._exit(0)


def _remove_cgroups(name: str, seconds: float = 20.0) -> None:
    """Remove a tree of cgroups in every hierarchy; their last processes may take a moment to be gone."""
    until = time.monotonic() + seconds
    while True:
        trees = [place / name for place in hierarchies() if (place / name).is_dir()]
        for tree in trees:
            for folder, _, _ in os.walk(tree, topdown=False):
                with contextlib.suppress(OSError):
                    Path(folder).rmdir()
        if not any(tree.is_dir() for tree in trees) or time.monotonic() > until:
            return
        time.sleep(0.1)


def _first(command: list[str]) -> int:
    """What PID 1 does: prepare, run the command, and bury whoever is left to it."""
    for place in _PRIVATE:
        Path(place).mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "kuik-e2e", place], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    # Ctrl-C reaches the command by itself, and what it then does is waited for.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    child = os.posix_spawnp(command[0], command, os.environ, setsigdef=[signal.SIGINT])
    while True:
        pid, status = os.wait()
        if pid == child:
            if STAY not in os.environ:
                return os.waitstatus_to_exitcode(status)
            sys.stdout.write("the cluster stays: see `python -m tests.e2e` with --again, --shell and --end\n")
            sys.stdout.flush()


if __name__ == "__main__":
    ended = _first(sys.argv[1:])
    raise SystemExit(ended if ended >= 0 else 128 - ended)
