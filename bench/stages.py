"""How long the stages take at the hooks themselves, what memory that needs, and how both grow."""

import http.client
import json
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from bench.clients import WrongAnswer
from bench.figures import MORE, Figure, Result, growth
from bench.measure import MIB, Peak, pss
from bench.policies import RULES
from bench.requests import of_images, of_pods, of_secrets
from bench.servers import Server, hooks
from bench.setting import Setting

_SIZES = (1, 2, 4, 8)
_LEAST = 4
_TIMES = 3
_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class _Case:
    """Requests of one stage, of which the largest has `full` of what they are made of."""

    what: str
    unit: str
    stage: str
    full: int
    make: Callable[[int], dict[str, Any]]

    def sizes(self, scale: float) -> list[int]:
        largest = max(int(self.full * scale), _LEAST * _SIZES[-1])
        return [largest * size // _SIZES[-1] for size in _SIZES]


_CASES = (
    _Case("stage 1", "pods", "inventory", 2_000, lambda size: of_pods(size, rules=False)),
    _Case(f"stage 1, {RULES} rules", "pods", "inventory", 2_000, lambda size: of_pods(size, rules=True)),
    _Case("stage 2", "images", "imagecache", 10_000, of_images),
    _Case("stage 3", "secrets", "cachedimage", 200, of_secrets),
)


@dataclass(frozen=True, slots=True)
class _Measured:
    """Of one size: the seconds of each round, and the memory in bytes at its highest."""

    seconds: tuple[float, ...]
    peak: int


def measure(setting: Setting) -> Result:
    """Requests one after another to `python -m hooks` over HTTP, from the first byte sent to the last one read."""
    figures: list[Figure] = []
    notes: list[str] = []
    for case in _CASES:
        found, body = _measure(case, setting)
        figures += found
        notes.append(body)
    return Result(
        "stages: syncs at the hooks", "none: nobody else has these stages", tuple(figures), notes=tuple(notes)
    )


def _measure(case: _Case, setting: Setting) -> tuple[list[Figure], str]:
    sizes = case.sizes(setting.scale)
    setting.say(f"stages: {case.what} with {', '.join(map(str, sizes))} {case.unit}")
    with setting.fresh() as fresh, hooks(fresh.folder) as server:
        _post(server, case.stage, json.dumps(case.make(_LEAST)).encode())  # what is loaded late is loaded now
        idle = pss(server.pid)
        measured = []
        for size in sizes:  # the largest last: memory that a process once had is not always given back
            body = json.dumps(case.make(size)).encode()
            measured.append(_of_one_size(server, case.stage, body, setting.rounds))
    return _figures(case, sizes, measured, idle), f"{case.what}: {sizes[-1]} {case.unit} are {len(body) / 1e6:.1f} MB"


def _figures(case: _Case, sizes: Sequence[int], measured: Sequence[_Measured], idle: int) -> list[Figure]:
    largest, name = measured[-1], f"{case.what}: {sizes[-1]} {case.unit}"
    rounds = list(zip(*(one.seconds for one in measured), strict=True))
    return [
        Figure(f"{name}, one sync", "ms", tuple(seconds * 1000 for seconds in largest.seconds)),
        Figure(f"{name}, syncs a second", "", tuple(1 / seconds for seconds in largest.seconds), better=MORE),
        Figure(f"{name}, memory of the hooks, peak", "MiB", (largest.peak / MIB,)),
        Figure(f"{name}, of that over idle", "MiB", ((largest.peak - idle) / MIB,)),
        Figure(f"{case.what}: time as {case.unit} to the power of", "", tuple(growth(sizes, one) for one in rounds)),
    ]


def _of_one_size(server: Server, stage: str, body: bytes, rounds: int) -> _Measured:
    """A round is the shortest of a few, since whatever else runs only adds."""
    with Peak(server.pid) as peak:
        seconds = tuple(min(_post(server, stage, body) for _ in range(_TIMES)) for _ in range(rounds))
    return _Measured(seconds, max(peak.bytes, pss(server.pid)))


def _post(server: Server, stage: str, body: bytes) -> float:
    """Seconds of a sync; raises WrongAnswer."""
    host, _, port = server.host.partition(":")
    with closing(http.client.HTTPConnection(host, int(port), timeout=_SECONDS)) as connection:
        connection.connect()
        begun = time.perf_counter()
        connection.request("POST", f"/sync/{stage}", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        answered = response.read()
        seconds = time.perf_counter() - begun
    if response.status != 200:
        raise WrongAnswer(f"stage {stage}: {response.status} {answered[:200]!r}")
    return seconds
