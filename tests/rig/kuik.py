"""`kuik` as a user runs it: a process of its own, on a port of its own."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.rig.processes import free_port, listening, wait_until


def kuik(*words: str, stdin: str = "", timeout: float = 60) -> "subprocess.CompletedProcess[str]":
    """Run one command to its end."""
    command = [sys.executable, "-m", "kuik", *words]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout, check=False)


def cache_list(store: Path) -> dict[str, dict[str, Any]]:
    """`kuik cache list` by image."""
    done = kuik("cache", "list", "--store", str(store), "-o", "json")
    assert done.returncode == 0, done.stderr
    return {row["image"]: row for row in json.loads(done.stdout)}


@dataclass
class Running:
    """`kuik run` that follows its manifests; a context manager that ends it."""

    store: Path
    words: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    _process: "subprocess.Popen[bytes] | None" = None

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def said(self) -> str:
        """What it wrote on standard error."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "kuik", "run", *self.words, "--store", str(self.store), "--listen", self.host]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stderr=log, stdin=subprocess.DEVNULL)
        wait_until(self._answers, "kuik answers")
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> int:
        """End it as a service manager does; its exit status."""
        assert self._process
        self._process.terminate()
        return self._process.wait(30)

    def kill(self) -> None:
        """Kill -9 of the process that was started and of all that it started; returns when none is left."""
        family = self.family()
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert self._process
        self._process.wait(10)
        wait_until(lambda: not listening(self.port), "the port is free")

    def kill_command_only(self) -> None:
        """Kill -9 of the process that was started alone."""
        assert self._process
        self._process.kill()
        self._process.wait(10)

    def family(self) -> list[int]:
        """The pids of the process and its descendants."""
        assert self._process
        found = [self._process.pid]
        for pid in found:
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                with contextlib.suppress(OSError):
                    found += [int(child) for child in task.read_text().split()]
        return found

    def memory(self) -> int:
        """Bytes of memory of all its processes, shared pages counted once (PSS)."""
        total = 0
        for pid in self.family():
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    if line.startswith("Pss:"):
                        total += int(line.split()[1]) * 1024
        return total

    def until_cached(self, *images: str, seconds: float = 60) -> None:
        """Wait until `kuik cache list` shows exactly these images, all cached."""

        def holds() -> bool:
            found = cache_list(self.store)
            return found.keys() == set(images) and all(row["phase"] == "Cached" for row in found.values())

        wait_until(holds, f"{images} are cached:\n{self.said}", seconds)

    @property
    def _log(self) -> Path:
        return self.store.with_name(f"{self.store.name}.log")

    def _answers(self) -> bool:
        assert self._process
        assert self._process.poll() is None, self.said
        with contextlib.suppress(OSError):
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            connection.request("GET", "/v2/")
            return connection.getresponse().status == 200
        return False


def proxied(host: str, image: str) -> str:
    """The name of an image (with its registry's host) at the proxy that listens on `host`."""
    registry, _, rest = image.partition("/")
    return f"{host}/{registry.replace(':', '__')}/{rest}"
