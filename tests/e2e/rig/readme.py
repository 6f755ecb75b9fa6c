"""README's walk through a cluster, typed as a new user types it: the page's own commands, in a shell, in their order.

A command whose output the page shows is typed again until it shows that, as people do, for at most a minute; one that
shows nothing has to succeed at once. Numbers, sizes and ages may differ.
"""

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.rig.built import program

ROOT = Path(__file__).parents[3]
HEADING = "### From the first image to the last"
_CLOCK = 60.0
_PAUSE = 1.0
_STEP = re.compile(r"<!-- (.+) -->")
_VARIES = re.compile(r"sha256:[0-9a-f.…]+|\d+(\.\d+)? ?([kMG]i?)?B\b|\d+([smhd]\d*)*[smhd]\b|\d+(\.\d+)?")


@dataclass
class Command:
    """What is typed, without the prompt, and what the page shows of its output."""

    typed: str
    shown: list[str] = field(default_factory=list)


def page() -> str:
    """README as it is."""
    return (ROOT / "README.md").read_text()


def steps(page: str) -> Iterator[str | Command]:
    """The commands of the walk, and between them what happens meanwhile: the page's own invisible remarks."""
    _, heading, rest = page.partition(f"{HEADING}\n")
    assert heading, f"README has no section {HEADING}"
    inside, command = False, Command("")
    for line in re.split(r"^#{1,3} ", rest, maxsplit=1, flags=re.MULTILINE)[0].splitlines():
        remark = _STEP.fullmatch(line)
        if line.startswith("```"):
            if command.typed:
                yield command
            inside, command = line == "```console", Command("")
        elif inside and line.startswith("$ "):
            if command.typed:
                yield command
            command = Command(line.removeprefix("$ "))
        elif inside and command.typed.endswith("\\"):
            command.typed += f"\n{line}"
        elif inside:
            command.shown.append(line)
        elif remark:
            yield remark[1]


def shows(said: str, shown: list[str]) -> bool:
    """Whether an output has the lines that the page shows, in their order; between them may be others."""
    lines = iter([_lasting(line) for line in said.splitlines()])
    return all(_lasting(line) in lines for line in shown)


def _lasting(line: str) -> str:
    return _VARIES.sub("N", " ".join(line.split()))


class Shell:
    """A new user's shell: kubectl and helm know the cluster, and `kuik` is there once it was installed.

    `values` is a file with what this cluster needs to be told besides; what `docker` and `pip` bring about was done.
    """

    def __init__(self, folder: Path, kubeconfig: Path, values: Path) -> None:
        self._bin = folder / "bin"
        self._bin.mkdir(parents=True, exist_ok=True)
        kubectl, helm = (shlex.quote(str(program(name))) for name in ("kubectl", "helm"))
        self._script("kubectl", f'exec {kubectl} "$@"')
        self._script("kuik", f'exec {shlex.quote(sys.executable)} -m kuik "$@"')
        # Metacontroller runs beside the cluster already.
        self._script(
            "helm",
            f"""case "$1 $2" in
  "install metacontroller") ;;
  "install kuik"|"upgrade kuik") exec {helm} "$@" --values={shlex.quote(str(values))} ;;
  *) exec {helm} "$@" ;;
esac""",
        )
        for name in ("docker", "pip"):
            self._script(name, "exit 0")
        homes = {name: str(folder / "helm") for name in ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME")}
        path = f"{self._bin}{os.pathsep}{os.environ['PATH']}"
        here = {"PATH": path, "KUBECONFIG": str(kubeconfig), "IMAGE": "kube-image-keeper", "HOME": str(folder)}
        self._environment = os.environ | homes | here

    def _script(self, name: str, text: str) -> None:
        path = self._bin / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def type(self, command: Command) -> None:
        """Type a command until it shows what the page shows; fails with what it said."""
        until = time.monotonic() + _CLOCK
        while True:
            done = subprocess.run(
                ["bash", "-c", command.typed],
                cwd=ROOT,
                env=self._environment,
                capture_output=True,
                text=True,
                timeout=240,
                check=False,
            )
            good = done.returncode == 0 and shows(done.stdout + done.stderr, command.shown)
            if good:
                return
            last = not command.shown or time.monotonic() > until
            assert not last, f"$ {command.typed}\n{done.stdout}{done.stderr}\nthe page shows: {command.shown}"
            time.sleep(_PAUSE)


def parts(page: str) -> Mapping[str, list[str | Command]]:
    """The walk in three: `install`, `use` and `leave`."""
    walk = list(steps(page))
    first = next(at for at, step in enumerate(walk) if step == "installed")
    last = next(at for at, step in enumerate(walk) if step == "the way out")
    return {"install": walk[:first], "use": walk[first + 1 : last], "leave": walk[last + 1 :]}
