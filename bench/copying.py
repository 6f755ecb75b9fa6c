"""A copy of an image into a folder: `kuik run --once` beside `skopeo copy`, from nothing and with everything there."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.figures import Figure, Result
from bench.measure import MIB, Cost, run
from bench.servers import REGISTRY, kuik_once, upstream
from bench.setting import Setting, missing
from kuik.demo.images import BuiltImage, image, index

_PEER = "skopeo"
_PLATFORMS = ("linux/amd64", "linux/arm64")
_LAYERS = 12
_LAYER_SIZE = 17 * MIB
_NOTES = ("kuik writes and proves each byte twice, in its shield and in its store, and serves pulls meanwhile",)


@dataclass(frozen=True, slots=True)
class Round:
    """What one copy from nothing cost, and the same copy again."""

    first: Cost
    again: Cost


def measure(setting: Setting) -> Result:
    """Both programs by turns, into a new folder each time."""
    size = setting.size(_LAYER_SIZE)
    title = f"copy: {len(_PLATFORMS)} platforms of {_LAYERS} layers, {2 * _LAYERS * size / MIB:.1f} MiB"
    lacking = missing(REGISTRY, _PEER)
    if REGISTRY in lacking:
        return Result(title, _PEER, missing=lacking)
    setting.say("copy: making the image")
    built = index([image("copy", layers=_LAYERS, layer_size=size, platform=one) for one in _PLATFORMS])
    with upstream(setting.folder / "upstream") as registry:
        name = registry.push(built, "bench/copy", "1")
        ours, peer = [], []
        for number in range(setting.rounds):
            setting.say(f"copy: round {number + 1} of {setting.rounds}")
            with setting.fresh() as fresh:
                ours.append(_twice(kuik_once(fresh.folder / "store", registry.host, name)))
            if not lacking:
                with setting.fresh() as fresh:
                    peer.append(_twice(_skopeo(name, fresh.folder, built)))
    return Result(title, f"{_PEER} copy --all", tuple(_figures(ours, peer)), lacking, _NOTES)


def _twice(command: list[str]) -> Round:
    return Round(run(command), run(command))


def _skopeo(name: str, folder: Path, built: BuiltImage) -> list[str]:
    options = ["--all", "--src-tls-verify=false", "--src-no-creds"]
    return [_PEER, "--insecure-policy", "copy", *options, f"docker://{name}", f"oci:{folder}/{built.digest.hex}:1"]


def _figures(ours: list[Round], peer: list[Round]) -> Iterable[Figure]:
    yield from _costs("first copy", [one.first for one in ours], [one.first for one in peer])
    yield from _costs("all there", [one.again for one in ours], [one.again for one in peer])


def _costs(what: str, ours: list[Cost], peer: list[Cost]) -> Iterable[Figure]:
    yield Figure(f"{what}, wall", "s", tuple(one.wall for one in ours), tuple(one.wall for one in peer))
    yield Figure(f"{what}, CPU", "s", tuple(one.cpu for one in ours), tuple(one.cpu for one in peer))
    yield Figure(
        f"{what}, peak PSS", "MiB", tuple(one.peak / MIB for one in ours), tuple(one.peak / MIB for one in peer)
    )
