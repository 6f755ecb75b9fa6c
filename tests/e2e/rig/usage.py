"""What kuik's containers use of a machine, as the kernel counts it: memory and CPU time of their cgroups."""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.e2e.rig.install import NAMESPACE, Installed
from tests.e2e.rig.sandbox import cgroup, hierarchies

_PAUSE = 0.5
_LABEL = "app.kubernetes.io/component"


@dataclass
class Use:
    """Of the container of a component that used most: bytes at their highest, and CPUs on average.

    `pss` counts pages that several processes share only in part, `working_set` is what `kubectl top` tells.
    """

    pss: int = 0
    working_set: int = 0
    cpus: float = 0.0


@dataclass
class _Seen:
    component: str
    first: tuple[float, float]
    last: tuple[float, float]
    use: Use = field(default_factory=Use)

    @property
    def cpus(self) -> float:
        (begun, before), (ended, after) = self.first, self.last
        return (after - before) / (ended - begun) if ended > begun else 0.0


class Usage:
    """While this context is open, looks at all containers of kuik's namespace, twice a second."""

    def __init__(self, kuik: Installed) -> None:
        self._kuik = kuik
        self._seen: dict[str, _Seen] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True, name="usage")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def found(self) -> dict[str, Use]:
        """By component and container, such as `hooks/admission`."""
        found: dict[str, Use] = {}
        for seen in self._seen.values():
            most = found.setdefault(seen.component, Use())
            most.pss = max(most.pss, seen.use.pss)
            most.working_set = max(most.working_set, seen.use.working_set)
            most.cpus = max(most.cpus, seen.cpus)
        return found

    def _look(self) -> None:
        while not self._ended.is_set():
            for name, component, groups in self._containers():
                # One that has just begun or ended is not looked at this time.
                with contextlib.suppress(OSError, StopIteration):
                    self._note(name, component, groups)
            self._ended.wait(_PAUSE)

    def _note(self, name: str, component: str, groups: list[Path]) -> None:
        now = (time.monotonic(), _cpu_seconds(groups))
        seen = self._seen.setdefault(name, _Seen(component, now, now))
        seen.last = now
        seen.use.pss = max(seen.use.pss, sum(map(_pss, _processes(groups[0]))))
        seen.use.working_set = max(seen.use.working_set, _working_set(groups))

    def _containers(self) -> Iterator[tuple[str, str, list[Path]]]:
        """ID, component and cgroups of each container that runs."""
        listed = self._kuik.cluster.plane.api.request("GET", f"api/v1/namespaces/{NAMESPACE}/pods")
        for pod in listed["items"]:
            component = pod["metadata"].get("labels", {}).get(_LABEL, "")
            for status in pod["status"].get("containerStatuses", ()):
                identity = status.get("containerID", "").partition("://")[2]
                groups = _groups(self._kuik.cluster.folder, pod, identity) if identity else []
                if groups:
                    yield identity, f"{component}/{status['name']}", groups


def _groups(folder: Path, pod: dict[str, Any], identity: str) -> list[Path]:
    """The container's cgroup in each hierarchy."""
    name = f"{cgroup(folder)}/{pod['spec'].get('nodeName')}/kubepods/{pod['status'].get('qosClass', '').lower()}"
    places = (place / name / f"pod{pod['metadata']['uid']}" / identity for place in hierarchies())
    return [place for place in places if place.is_dir()]


def _file(groups: list[Path], name: str) -> Path:
    """The file of that name in the one hierarchy that has it; raises StopIteration."""
    return next(group / name for group in groups if (group / name).exists())


def _cpu_seconds(groups: list[Path]) -> float:
    with contextlib.suppress(StopIteration):
        return int(_file(groups, "cpuacct.usage").read_text()) / 1e9
    return _numbers(_file(groups, "cpu.stat"))["usage_usec"] / 1e6


def _working_set(groups: list[Path]) -> int:
    """What is used without files that nobody has read lately, as kubelet reckons it."""
    with contextlib.suppress(StopIteration):
        used = int(_file(groups, "memory.usage_in_bytes").read_text())
        return used - _numbers(_file(groups, "memory.stat"))["total_inactive_file"]
    return int(_file(groups, "memory.current").read_text()) - _numbers(_file(groups, "memory.stat"))["inactive_file"]


def _numbers(file: Path) -> dict[str, int]:
    return {name: int(value) for name, value in (line.split() for line in file.read_text().splitlines())}


def _processes(group: Path) -> list[int]:
    return [int(pid) for pid in (group / "cgroup.procs").read_text().split()]


def _pss(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
