"""A copy between two real registries: the copy Job beside `skopeo copy --all` and `crane copy`."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import disk_usage, rmtree
from statistics import median
from tempfile import TemporaryDirectory

from bench.big_image import push_big, push_long
from bench.figures import MORE, Figure, Result
from bench.measure import MIB, Cost, run
from bench.servers import registry
from bench.setting import Setting, missing
from tests.rig.built import cache

_SKOPEO = "skopeo"
_PLATFORMS = ("linux/amd64", "linux/arm64")
_LAYERS = 12
_LAYER_SIZE = 64 * MIB
_SHORT, _LONG = 128 * MIB, 2048 * MIB
_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of its own is made there


@dataclass(frozen=True, slots=True)
class Round:
    """What one copy from nothing cost, and the same copy again."""

    first: Cost
    again: Cost


def measure(setting: Setting) -> Result:
    """The programs by turns, another one first in each round, each into an empty registry.

    Distribution 3 is at both ends, its storage in memory if there is room.
    """
    size = setting.size(_LAYER_SIZE)
    total = len(_PLATFORMS) * _LAYERS * size
    title = f"copies: {len(_PLATFORMS)} platforms of {_LAYERS} layers, {total / MIB:.1f} MiB, registry to registry"
    built = tuple(f"{part} of tests/rig/build" for part in ("registry", "crane") if not (cache() / part).exists())
    lacking = built + missing(_SKOPEO)
    if lacking:
        return Result(title, _SKOPEO, missing=lacking)
    rounds: dict[str, list[Round]] = {"kuik": [], _SKOPEO: [], "crane": []}
    empty: list[float] = []
    long: list[list[float]] = [[], []]
    with _folder(setting, 2 * total) as folder, _registry(folder / "source") as source:
        setting.say("copies: making the image")
        name = push_big(source, "bench/copies", "1", platforms=_PLATFORMS, layers=_LAYERS, size=size)
        for number in range(setting.rounds):
            setting.say(f"copies: round {number + 1} of {setting.rounds}")
            empty.append(run([sys.executable, "-c", "pass"]).wall)
            for program in _turns(tuple(rounds), number):
                with _empty_registry(folder / "target") as target:
                    command = _commands(name, source, target)[program]
                    rounds[program].append(Round(run(command), run(command)))
    for which, full in enumerate((_LONG, _SHORT)):
        setting.say(f"copies: one layer of {setting.size(full) / MIB:.1f} MiB")
        with _folder(setting, 2 * setting.size(full)) as folder, _registry(folder / "source") as source:
            name = push_long(source, "bench/long", "1", setting.size(full))
            for _ in range(setting.rounds):
                with _empty_registry(folder / "target") as target:
                    long[which].append(run(_commands(name, source, target)["kuik"]).peak / MIB)
    figures = (*_figures(rounds, empty), _of_one_layer(setting, *long))
    return Result(title, f"{_SKOPEO} copy --all, and crane copy where it says so", figures)


def _turns(programs: Sequence[str], number: int) -> Sequence[str]:
    """In this round's order: what the one before leaves behind, in caches and clocks, is not always the same one's."""
    first = number % len(programs)
    return (*programs[first:], *programs[:first])


def _of_one_layer(setting: Setting, long: Sequence[float], short: Sequence[float]) -> Figure:
    sizes = (setting.size(size) / MIB for size in (_LONG, _SHORT))
    return Figure("peak PSS, a layer of {:.0f} MiB beside one of {:.0f}".format(*sizes), "MiB", (*long,), (*short,))


@contextmanager
def _folder(setting: Setting, room: int) -> Iterator[Path]:
    """In memory, since a disk would be what is measured."""
    with setting.fresh() as fresh:
        if not _MEMORY.is_dir() or disk_usage(_MEMORY).free < 2 * room:
            yield fresh.folder
            return
        with TemporaryDirectory(dir=_MEMORY, prefix="kuik-bench-") as folder:
            yield Path(folder)


@contextmanager
def _registry(folder: Path) -> Iterator[str]:
    with registry(folder, storage=folder / "storage", program=str(cache() / "registry")) as server:
        yield server.host


@contextmanager
def _empty_registry(folder: Path) -> Iterator[str]:
    try:
        with _registry(folder) as host:
            yield host
    finally:
        rmtree(folder)


def _commands(name: str, source: str, target: str) -> Mapping[str, Sequence[str]]:
    place = f"{target}/{name.partition('/')[2]}"
    insecure = ("--src-tls-verify=false", "--dest-tls-verify=false")
    job = (sys.executable, "-m", "kuik.copy_job", "--image", name, "--plain-http", source)
    return {
        "kuik": (*job, "--target", f"http://{target}"),
        _SKOPEO: (_SKOPEO, "--insecure-policy", "copy", "--all", *insecure, f"docker://{name}", f"docker://{place}"),
        "crane": (str(cache() / "crane"), "copy", "--insecure", name, place),
    }


def _figures(rounds: Mapping[str, Sequence[Round]], empty: Sequence[float]) -> Iterable[Figure]:
    ours = rounds["kuik"]
    for peer in (_SKOPEO, "crane"):
        theirs = rounds[peer]
        yield Figure(
            f"speed, beside {peer}",
            "1/s",
            tuple(1 / one.first.wall for one in ours),
            tuple(1 / one.first.wall for one in theirs),
            MORE,
        )
        yield Figure(
            f"CPU, beside {peer}",
            "s",
            tuple(one.first.cpu for one in ours),
            tuple(one.first.cpu for one in theirs),
        )
    yield Figure("peak PSS, beside skopeo", "MiB", _peaks(ours), _peaks(rounds[_SKOPEO]))
    yield Figure("all there, wall, beside skopeo", "s", _again(ours), _again(rounds[_SKOPEO]))
    yield Figure("all there, beyond `python -c pass`", "s", tuple(wall - median(empty) for wall in _again(ours)))


def _peaks(rounds: Sequence[Round]) -> tuple[float, ...]:
    return tuple(max(one.first.peak, one.again.peak) / MIB for one in rounds)


def _again(rounds: Sequence[Round]) -> tuple[float, ...]:
    return tuple(one.again.wall for one in rounds)
