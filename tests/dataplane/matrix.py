"""Trials of the fault matrix: one fault at one place, and how pulls through kuik then compare with direct ones."""

import ssl
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.dataplane.faults import Fault, Props
from tests.dataplane.lane import Lane, Trial
from tests.dataplane.rig.holder import Holder
from tests.rig.authority import Authority
from tests.rig.components import Component
from tests.rig.link import at_rate
from tests.rig.puller import Pulled, Puller
from tests.rig.upstream import Upstream

LIMIT = 8.0
"""Seconds after which a client gives up: unavailable."""
GRACE = 2.0
"""Seconds that a pull through kuik may take longer than a direct one."""
BACK_OFF = 10.0
"""Seconds after which kubelet tries a failed pull again, at first."""
KILL_AFTER, DEAD_FOR = 0.7, 1.0
KILL_RATE = 200_000
CASES = ("cached-tag", "cached-digest", "cold-tag", "cold-digest")


@dataclass(frozen=True)
class Cell:
    """What came of one image at one place under one fault."""

    fault: str
    place: str
    case: str
    direct: Pulled
    kuik: Pulled
    verdict: str

    @property
    def is_worse(self) -> bool:
        return self.verdict.startswith("worse")

    @property
    def is_late(self) -> bool:
        """Nothing is wrong but that it took long."""
        return self.is_worse and self.verdict.endswith("later")


def judge(direct: Pulled, kuik: Pulled, content: dict[str, int], *, retried: bool = False) -> str:
    """`same`, `better`, `same, at the retry`, or `worse: why`."""
    if kuik.served and kuik.content != content:
        return "worse: not all bytes, or others"
    if kuik.served and not direct.served:
        return "better"
    if kuik.outcome != direct.outcome:
        return f"worse: {kuik.outcome}, direct: {direct.outcome}"
    if kuik.attempts > direct.attempts:
        return "same, at the retry" if retried else "worse: at the retry"
    late = kuik.seconds - direct.seconds
    return f"worse: {late:.1f} s later" if late > GRACE else "same"


def run(lane: Lane, fault: Fault, place: str, folder: Path, setting: tuple[Authority, Props]) -> list[Cell]:
    """Try one fault at one place with every case, all at the same time."""
    authority, props = setting
    tls = place if fault.tls else ""
    small = 64 * 1024 if fault.full_disk and place == "shield" else 0
    with lane.trial(folder, tls=tls, shield_disk=small) as trial:
        if fault.tls:
            trial.link(place).heal(tls=authority.loopback())
        context = ssl.create_default_context(cafile=str(authority.bundle)) if tls == "upstream" else None
        warm = Puller(trial.proxy.host).pull(lane.through_kuik("warm"))
        assert warm.served, warm
        back = threading.Event()
        try:
            if fault.kills:
                threading.Thread(target=_kill, args=(trial, place, back), daemon=True).start()
            elif fault.full_disk:
                _fill(trial, place)
            else:
                fault.inject(trial.link(place), props)
            attempts = 2 if fault.kills or fault.retried else 1
            pulls = _pull_all(trial, context, attempts, lambda: _back_off(fault, back))
        finally:
            if fault.kills:
                back.wait(30)
            lane.disk.free()
    retried = place in fault.retried or (fault.kills and place == "proxy")
    return [
        Cell(fault.name, place, case, direct, kuik, judge(direct, kuik, lane.content(case), retried=retried))
        for case, (direct, kuik) in zip(CASES, pulls, strict=True)
    ]


def _pull_all(
    trial: Trial, context: ssl.SSLContext | None, attempts: int, wait: Callable[[], object]
) -> list[tuple[Pulled, Pulled]]:
    lane = trial.lane
    straight = Puller(lane.to_upstream.host, LIMIT, context)
    through = Puller(trial.proxy.host, LIMIT)
    with ThreadPoolExecutor(2 * len(CASES)) as pool:
        direct: list[Future[Pulled]] = []
        kuik: list[Future[Pulled]] = []
        for case in CASES:
            direct.append(pool.submit(straight.pull_again, lane.direct(case), attempts, wait))
            kuik.append(pool.submit(through.pull_again, lane.through_kuik(case), attempts, wait))
        return [(one.result(), other.result()) for one, other in zip(direct, kuik, strict=True)]


def _back_off(fault: Fault, back: threading.Event) -> None:
    if fault.kills:
        back.wait(30)
    threading.Event().wait(BACK_OFF if fault.kills else 1)


def _kill(trial: Trial, place: str, back: threading.Event) -> None:
    """SIGKILL to the process behind the link while bytes pass; some time later it is started again."""
    try:
        for slow in ("upstream", "registry"):
            trial.link(slow).faulty(at_rate(KILL_RATE), path="/blobs/")
        threading.Event().wait(KILL_AFTER)
        link = None if place == "proxy" else trial.link(place)
        processes: dict[str, Component | Upstream | Holder] = {
            "upstream": trial.lane.upstream,
            "shield": trial.shield,
            "registry": trial.lane.registry,
            "proxy": trial.proxy,
        }
        process = processes[place]
        process.kill()
        if link:
            link.refuse()
        threading.Event().wait(DEAD_FOR)
        process.start()
        if link:
            link.heal()
    finally:
        back.set()


def _fill(trial: Trial, place: str) -> None:
    if place == "shield":
        return  # its disk has been too small from the start
    trial.lane.disk.fill()
    result = trial.lane.copy("cold-tag", trial.shield)
    assert result.get("reason") == "StoreFull", result
