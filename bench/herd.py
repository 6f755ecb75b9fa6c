"""Many clients ask for the same cold blob at once: kuik beside a registry that is a pull-through cache."""

from contextlib import AbstractContextManager
from dataclasses import dataclass

from bench.clients import downloads
from bench.figures import Figure, Result
from bench.measure import MIB, Cost, measured
from bench.servers import REGISTRY, Server, kuik, largest_blob, path_at_kuik, registry, upstream
from bench.setting import Setting, missing
from kuik.demo.images import image
from tests.rig.processes import wait_until
from tests.rig.upstream import Upstream

_CLIENTS = 20
_SIZE = 64 * MIB
_REPOSITORY = "bench/herd"
_NOTES = ("upstream is on this machine, so what it is asked for in vain costs little here",)


@dataclass(frozen=True, slots=True)
class Herd:
    """What a herd cost, and how often upstream was asked for the blob."""

    cost: Cost
    asked: int


def measure(setting: Setting) -> Result:
    """Both by turns, each with nothing cached."""
    size = setting.size(_SIZE)
    title = f"herd: {_CLIENTS} clients at once, one cold blob of {size / MIB:.1f} MiB"
    peer_is = f"{REGISTRY}, pull-through cache"
    lacking = missing(REGISTRY)
    if lacking:
        return Result(title, peer_is, missing=lacking)
    setting.say("herd: making the image")
    built = image("herd", layers=1, layer_size=size)
    with upstream(setting.folder / "upstream") as source:
        source.push(built, _REPOSITORY, "1")
        path = largest_blob(built, _REPOSITORY)
        ours, peer = [], []
        for number in range(setting.rounds):
            setting.say(f"herd: round {number + 1} of {setting.rounds}")
            with setting.fresh() as fresh:
                served = kuik(fresh.folder / "store", source.host)
                ours.append(_herd(served, source, path_at_kuik(source.host, path), path))
            with setting.fresh() as fresh:
                served = registry(fresh.folder, storage=fresh.folder / "data", remote=source.host)
                peer.append(_herd(served, source, path, path))
    return Result(title, peer_is, _figures(ours, peer), notes=_NOTES)


def _herd(served: AbstractContextManager[Server], source: Upstream, path: str, path_upstream: str) -> Herd:
    source.forget_requests()
    with served as server, measured(server.pid) as meter:
        downloads(server.host, path, _CLIENTS)
    # A line of the log is written when its answer is complete; a cache may still read on for itself.
    wait_until(lambda: source.count("GET", path_upstream) > 0, "the request is in upstream's log")
    return Herd(meter.cost, source.count("GET", path_upstream))


def _figures(ours: list[Herd], peer: list[Herd]) -> tuple[Figure, ...]:
    return (
        Figure("GETs upstream", "", tuple(float(one.asked) for one in ours), tuple(float(one.asked) for one in peer)),
        Figure("wall", "s", tuple(one.cost.wall for one in ours), tuple(one.cost.wall for one in peer)),
        Figure("CPU", "s", tuple(one.cost.cpu for one in ours), tuple(one.cost.cpu for one in peer)),
        Figure(
            "peak PSS", "MiB", tuple(one.cost.peak / MIB for one in ours), tuple(one.cost.peak / MIB for one in peer)
        ),
    )
