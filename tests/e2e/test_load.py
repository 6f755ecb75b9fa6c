"""A crowd of pods on one node: how much longer it takes with kuik, and what kuik uses of the machine meanwhile."""

import sys
import time
from dataclasses import dataclass

import pytest

from tests.e2e.rig.crowd import Arrival, Crowd
from tests.e2e.rig.install import NAMESPACE, Installed
from tests.e2e.rig.page import Table
from tests.e2e.rig.usage import Usage, Use
from tests.rig.processes import wait_until

PODS, IMAGES, SIZE = 100, 40, 2 << 20
_IDLE = 15.0
_MIB = 1 << 20
_COMPONENTS = {
    "proxy/proxy": ("node proxy", "19"),
    "hooks/hooks": ("hooks", "16-24"),
    "hooks/admission": ("admission", "16-24"),
    "shield/shield": ("origin shield", ""),
    "registry/keeper": ("registry: writer, and keeper", "86"),
    "registry/reader": ("registry: reader", "86"),
    "copy/copy": ("copy Job", ""),
}
"""Components and containers in words, and the MiB that kuik v1 publishes of what does the same there."""
_HOW_LONG = f"""\
{PODS} pods of {IMAGES} images, each with a layer of {SIZE // _MIB} MiB of its own, are created at once on one node of a
machine with 2 cores, on which everything else of the cluster runs too. All in one run, with the same images, which are
removed from the node in between. Without kuik nothing of it runs. With an empty cache its images are copied meanwhile.
A pull that failed is one that kubelet's events tell of. A blob is counted as often as upstream has given it."""
_HOW_MUCH = f"""\
Of the container of each component that used most, at its highest: PSS, by which pages that several processes share are
counted in part, and the working set of its cgroup, which `kubectl top` tells. CPU is in thousandths of a core. Idle are
{_IDLE:.0f} seconds in which nobody asks for anything, busy is the crowd above with an empty cache, until all of its
images are copied. The last column is what kuik v1 publishes in its README, by `kubectl top`, of what does the same
there: proxy, controllers, registry. The chart's requests are the PSS of the busy ones, and some more."""


@dataclass(frozen=True)
class _Came:
    """What came of a crowd."""

    seconds: float
    failed: list[str]
    blobs: dict[str, int]
    direct: int
    """Pods that keep their own images, and do not ask kuik."""


def _came(arrival: Arrival) -> _Came:
    direct = sum(not image.startswith("localhost:7439/") for image in arrival.images())
    return _Came(arrival.seconds, arrival.failed(), arrival.blobs(), direct)


@pytest.mark.timeout(1200)
def test_a_crowd_of_pods(kuik: Installed, tables: list[Table]) -> None:
    """100 pods of 40 images at once on one node, uncached and cached: no pull fails, a blob is asked upstream once."""
    crowd = Crowd(kuik.cluster, "node-1", pods=PODS, images=IMAGES, size=SIZE)
    own = crowd.push()
    with kuik.gone():
        without = _came(crowd.come("crowd-without", **{"kuik.dev_mode": "Off"}).all_run())
        crowd.leave("crowd-without")
    kuik.wait_until_ready()
    wait_until(lambda: not _copies(kuik), "no copy Job runs", 120)
    with Usage(kuik) as idle:
        time.sleep(_IDLE)
    with Usage(kuik) as busy:
        arrival = crowd.come("crowd-empty").all_run()
        for name in crowd.images:
            kuik.cached(f"docker.io/library/{name}:1", 240)
    empty = _came(arrival)
    crowd.leave("crowd-empty")
    full = _came(crowd.come("crowd-full").all_run())
    crowd.leave("crowd-full")
    rows = {"without kuik": without, "with kuik, an empty cache": empty, "with kuik, all of it cached": full}
    tables += [_speeds(rows), _uses(idle.found(), busy.found())]
    for table in tables:
        sys.stdout.write(f"{table.written()}\n")  # beside a failure, where there is one
    for came in rows.values():
        assert not came.failed
    assert own <= empty.blobs.keys()
    # A pod whose image nobody had told admission of in time pulls both of its blobs directly, as without kuik.
    again = sum(empty.blobs.values()) - len(empty.blobs)
    assert again <= 2 * empty.direct, "upstream is asked once for each blob"
    assert not full.blobs or full.direct


def _copies(kuik: Installed) -> bool:
    return any(one["status"].get("active") for one in kuik.get("jobs", "-n", NAMESPACE))


def _speeds(rows: dict[str, _Came]) -> Table:
    columns = ("", "seconds until all run", "failed pulls", "pods that pulled directly", "blobs given by upstream")
    told = [
        (name, f"{one.seconds:.0f}", *map(str, (len(one.failed), one.direct, sum(one.blobs.values()))))
        for name, one in rows.items()
    ]
    return Table(f"{PODS} pods of {IMAGES} images at once", _HOW_LONG, columns, told)


def _uses(idle: dict[str, Use], busy: dict[str, Use]) -> Table:
    columns = (
        "component",
        "PSS MiB, idle",
        "busy",
        "working set MiB, idle",
        "busy",
        "CPU, idle",
        "busy",
        "kuik v1 MiB",
    )
    told = [(words, *_use(idle.get(name, Use()), busy[name]), v1) for name, (words, v1) in _COMPONENTS.items()]
    return Table("Memory and CPU", _HOW_MUCH, columns, told)


def _use(idle: Use, busy: Use) -> list[str]:
    memory = [one for pair in ((idle.pss, busy.pss), (idle.working_set, busy.working_set)) for one in pair]
    figures = [one / _MIB for one in memory] + [one * 1000 for one in (idle.cpus, busy.cpus)]
    return [f"{one:.0f}" if one else "-" for one in figures]
