"""A cluster of some size is filled, all its images get their CachedImages, and then churn writes nothing."""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.cluster.rig.api import Object
from tests.cluster.rig.control_plane import ControlPlane
from tests.cluster.rig.workloads import image_cache
from tests.cluster.scale.churn import Churn
from tests.cluster.scale.drivers import Caller
from tests.cluster.scale.hands import Hands
from tests.cluster.scale.kubelet import Kubelet
from tests.cluster.scale.world import Size, accounts, cron_jobs, images, namespaces, workloads
from tests.cluster.scale.writes import Writes
from tests.rig.components import Component
from tests.scenarios.cluster import JOBS

OURS = ("imageinventories", "cachedimages", "cachedimages/status", "jobs")
_CALL = re.compile(r": synced (\w+) in ([0-9.]+) ms, asked with (\d+) bytes")
_CACHED = "apis/kuik.dev/v1alpha1/cachedimages"


@dataclass
class Calls:
    """Syncs that a stage was asked for, the bytes of these requests, and the seconds that the answers took."""

    calls: int = 0
    size: int = 0
    seconds: float = 0.0


@dataclass
class Phase:
    """What one part of the run took and cost. `broken` says what does not hold in it, where something does not."""

    name: str
    seconds: float = 0.0
    writes: Counter[str] = field(default_factory=Counter)
    calls: dict[str, Calls] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)


@dataclass
class Scale:
    """One run over a control plane with kuik's kinds, whose writes are audited."""

    plane: ControlPlane
    hooks: Component
    caller: Caller
    size: Size
    say: Callable[[str], None]
    patience: float = 300.0
    """Seconds that each step may take at most."""
    quiet: float = 4.0
    """Seconds without a write and without a call after which all is at rest."""
    phases: list[Phase] = field(default_factory=list)
    memory: int | None = None
    """The driver's at its highest, in bytes."""
    _read: int = 0

    def run(self) -> list[Phase]:
        """All of it; raises AssertionError where a step does not come to its end in time."""
        self._writes = Writes(self.plane.audit)
        self._hands = Hands(self.plane.api)
        kubelet = Kubelet(self.plane.api)
        self._hands.ask("POST", "apis/kuik.dev/v1alpha1/imagecaches", _cache())
        self.caller.start()
        kubelet.start()
        try:
            self._fill(kubelet)
            self._churn(Churn(self._hands, kubelet))
            self._note_memory()
        finally:
            kubelet.stop()
            self.caller.stop()
            self._hands.close()
        return self.phases

    def _fill(self, kubelet: Kubelet) -> None:
        with self._phase("making the cluster"):
            self._hands.each(self._hands.create, namespaces(self.size))
            self._hands.each(self._hands.create, accounts(self.size))
            self._hands.each(self._hands.create, workloads(self.size))
            self._hands.each(self._hands.create, cron_jobs(self.size))
            self._until(lambda: kubelet.started >= self.size.pods, f"{self.size.pods} pods")
        wanted = images(self.size)
        with self._phase("all CachedImages, from the last pod on"):
            self._until(lambda: self._images() == wanted, f"{len(wanted)} CachedImages", self._missing)
        with self._phase("all copied, and at rest", rest=True):
            self._until(self._copied, "all images are cached")

    def _churn(self, churn: Churn) -> None:
        before = self._dump()
        for name, step in (
            ("restarts", churn.restarts),
            ("rescheduling", churn.rescheduling),
            ("replica counts", churn.replicas),
            ("CronJob runs", churn.cron_runs),
            ("failing pulls", churn.failing_pulls),
            ("stuck pulls", churn.stuck_pulls),
            ("a restart of the driver", self._restart),
        ):
            with self._phase(name, rest=True) as phase:
                step()
            phase.broken += [f"{phase.writes[kind]} writes of {kind}" for kind in OURS if phase.writes[kind]]
            after = self._dump()
            changed = sorted({key for key, _ in before.items() ^ after.items()})
            phase.broken += (
                [f"{len(changed)} objects are not as they were: {', '.join(changed[:3])}"] if changed else []
            )
            before = after

    def _restart(self) -> None:
        """Every namespace and every image is looked at again."""
        self._note_memory()
        self.caller.stop()
        due = {"inventory": len(self._list("api/v1/namespaces")), "cachedimage": len(self._list(_CACHED))}
        seen = self._calls()
        self.caller.start()

        def asked() -> bool:
            for stage, more in self._calls().items():
                seen.setdefault(stage, Calls()).calls += more.calls
            return all(seen[stage].calls >= count for stage, count in due.items())

        seen.clear()
        seen.update({stage: Calls() for stage in due})
        self._until(
            asked, f"the stages are asked again: {due}", lambda: str({name: c.calls for name, c in seen.items()})
        )

    def _note_memory(self) -> None:
        found = self.caller.memory()
        self.memory = found if found is None else max(found, self.memory or 0)

    @contextmanager
    def _phase(self, name: str, *, rest: bool = False) -> Iterator[Phase]:
        """Measure what is done meanwhile; with `rest`, the writes also count that follow until there are none."""
        self.say(name)
        writes, began = self._writes.read(), time.monotonic()
        self._read = self.hooks.log.stat().st_size
        phase = Phase(name)
        begin = self._read
        yield phase
        phase.seconds = time.monotonic() - began
        if rest:
            self._rest()
        phase.writes = self._writes.read() - writes
        phase.calls = self._calls_since(begin)
        self.phases.append(phase)

    def _rest(self) -> None:
        """Until kuik has written nothing, and has not been asked, for a while."""
        seen, since = (self._writes.read(), self.hooks.log.stat().st_size), time.monotonic()
        deadline = since + self.patience
        while time.monotonic() - since < self.quiet and time.monotonic() < deadline:
            time.sleep(0.5)
            now = (self._writes.read(), self.hooks.log.stat().st_size)
            if now != seen:
                seen, since = now, time.monotonic()

    def _calls(self) -> dict[str, Calls]:
        """The syncs since this was asked for the last time."""
        begin, self._read = self._read, self.hooks.log.stat().st_size
        return self._calls_since(begin, self._read)

    def _calls_since(self, begin: int, end: int | None = None) -> dict[str, Calls]:
        found: dict[str, Calls] = {}
        with self.hooks.log.open("rb") as file:
            file.seek(begin)
            text = file.read(-1 if end is None else end - begin).decode(errors="replace")
        for stage, milliseconds, size in _CALL.findall(text):
            calls = found.setdefault(stage, Calls())
            calls.calls += 1
            calls.size += int(size)
            calls.seconds += float(milliseconds) / 1000
        return found

    def _until(self, holds: Callable[[], bool], what: str, why: Callable[[], str] = str) -> None:
        deadline = time.monotonic() + self.patience
        while not holds():
            assert time.monotonic() < deadline, f"{what}: not within {self.patience:.0f} s {why()}"
            time.sleep(0.25)

    def _list(self, path: str) -> list[Object]:
        found: list[Object] = self._hands.ask("GET", path)["items"]
        return found

    def _images(self) -> set[str]:
        return {one["spec"]["image"] for one in self._list(_CACHED)}

    def _missing(self) -> str:
        missing = sorted(images(self.size) - self._images())
        return f"({len(missing)} are missing, such as {', '.join(missing[:3])})"

    def _copied(self) -> bool:
        return all((one.get("status") or {}).get("phase") == "Cached" for one in self._list(_CACHED))

    def _dump(self) -> dict[str, str]:
        """What must not change, with its resourceVersion: kuik's Jobs are those of its namespace."""
        paths = ("apis/kuik.dev/v1alpha1/imageinventories", _CACHED, f"apis/batch/v1/namespaces/{JOBS}/jobs")
        return {
            f"{path.rpartition('/')[2]}/{one['metadata']['name']}": one["metadata"]["resourceVersion"]
            for path in paths
            for one in self._list(path)
        }


def _cache() -> Object:
    # Audit, so that what is stuck is not rescued: a rescue Job comes again and again, as it should.
    return image_cache(mode="Audit", copies={"concurrency": 10})
