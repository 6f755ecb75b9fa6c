"""What is cached already, blobs by many streams and manifests one by one: kuik beside a registry asked directly."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.clients import downloads, latencies
from bench.figures import MORE, Figure, Result, percentile
from bench.measure import GIB, MIB, measured, run
from bench.servers import (
    REGISTRY,
    Server,
    kuik,
    kuik_once,
    largest_blob,
    path_at_kuik,
    registry,
    upstream,
)
from bench.setting import Setting, missing
from kuik.demo.images import image

_SIZE = 255 * MIB
"""The images' pseudo-random bytes end before 256 MiB."""
_STREAMS = {1: 4, 8: 1, 16: 1}
"""Clients at once, and how often each of them reads the blob."""
_REQUESTS = 200
_REPOSITORY = "bench/warm"


@dataclass(frozen=True, slots=True)
class Place:
    """One of the two servers, with the paths there of the blob and of its image's manifest, by digest and by tag."""

    server: Server
    blob: str
    manifests: dict[str, str]


def measure(setting: Setting) -> Result:
    """Both servers run all the time and are asked by turns."""
    size = setting.size(_SIZE)
    title = f"warm: a cached blob of {size / MIB:.1f} MiB, a cached manifest"
    peer_is = f"{REGISTRY}, asked directly"
    lacking = missing(REGISTRY)
    if lacking:
        return Result(title, peer_is, missing=lacking)
    with _served(setting, size) as (ours, peer):
        figures = [figure for clients in _STREAMS for figure in _throughput(setting, clients, ours, peer)]
        figures += [figure for kind in ours.manifests for figure in _latency(setting, kind, ours, peer)]
    return Result(title, peer_is, tuple(figures), notes=("clients and servers share the machine",))


@contextmanager
def _served(setting: Setting, size: int) -> Iterator[tuple[Place, Place]]:
    setting.say("warm: making the image, and caching it")
    built = image("warm", layers=1, layer_size=size)
    blob = largest_blob(built, _REPOSITORY)
    manifests = {one: f"/v2/{_REPOSITORY}/manifests/{name}" for one, name in (("digest", built.digest), ("tag", "1"))}
    store = setting.folder / "store"
    with upstream(setting.folder / "upstream") as source:
        run(kuik_once(store, source.host, source.push(built, _REPOSITORY, "1")))
        at_kuik = {one: path_at_kuik(source.host, path) for one, path in manifests.items()}
        direct = registry(setting.folder / "direct", storage=source.folder / "data")
        with kuik(store, source.host) as ours, direct as peer:
            yield Place(ours, path_at_kuik(source.host, blob), at_kuik), Place(peer, blob, manifests)


def _throughput(setting: Setting, clients: int, ours: Place, peer: Place) -> Iterator[Figure]:
    setting.say(f"warm: {clients} streams")
    rounds = [(_stream(ours, clients), _stream(peer, clients)) for _ in range(setting.rounds)]
    mine, others = zip(*rounds, strict=True)
    named = f"{clients} stream{'s' if clients > 1 else ''}"
    speeds = tuple(one.speed for one in mine), tuple(one.speed for one in others)
    yield Figure(f"{named}, throughput", "MiB/s", *speeds, better=MORE)
    yield Figure(f"{named}, CPU", "s/GiB", tuple(one.cpu for one in mine), tuple(one.cpu for one in others))
    yield Figure(f"{named}, peak PSS", "MiB", tuple(one.peak for one in mine), tuple(one.peak for one in others))


@dataclass(frozen=True, slots=True)
class Streamed:
    """`speed` in MiB/s of all streams together, `cpu` in seconds for a GiB, `peak` PSS in MiB."""

    speed: float
    cpu: float
    peak: float


def _stream(place: Place, clients: int) -> Streamed:
    with measured(place.server.pid) as meter:
        total = downloads(place.server.host, place.blob, clients, _STREAMS[clients])
    cost = meter.cost
    return Streamed(total / MIB / cost.wall, cost.cpu / (total / GIB), cost.peak / MIB)


def _latency(setting: Setting, kind: str, ours: Place, peer: Place) -> Iterator[Figure]:
    setting.say(f"warm: manifests by {kind}")
    mine, others = [], []
    for _ in range(setting.rounds):
        mine.append(latencies(ours.server.host, ours.manifests[kind], _REQUESTS))
        others.append(latencies(peer.server.host, peer.manifests[kind], _REQUESTS))
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        values = tuple(percentile(one, share) for one in mine), tuple(percentile(one, share) for one in others)
        yield Figure(f"manifest by {kind}, {name}", "ms", *values)
