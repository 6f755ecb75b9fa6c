"""What a node pulls that the cluster's registry has: kuik's proxy beside nginx, a pull-through cache, and no proxy."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from bench import link
from bench.clients import download, downloads, latencies
from bench.figures import MORE, Figure, Result, percentile
from bench.measure import GIB, MIB, measured, pss
from bench.nodes import NGINX, nginx, proxy
from bench.servers import REGISTRY, Server, largest_blob, registry, upstream
from bench.setting import Setting, missing
from kuik.demo.images import image
from registry.proxied import host_to_segment
from tests.rig.built import cache

_SIZE = 255 * MIB
_STREAMS = {1: 4, 8: 1, 16: 1}
"""Clients at once, and how often each of them reads the blob."""
_REQUESTS, _FEWEST = 300, 20
_REPOSITORY = "bench/node"
DIRECT, PULL_THROUGH = "direct", "pull-through"


@dataclass(frozen=True, slots=True)
class Node:
    """Servers by name, kuik's first; each has the image's blob and manifest under the same path."""

    servers: Mapping[str, Server]
    blob: str
    manifests: Mapping[str, str]

    @property
    def ours(self) -> Server:
        return self.servers["kuik"]


def measure(setting: Setting) -> Result:
    """On loopback, and with the registry behind a link of 10 Gbit/s. All servers run, and are asked by turns."""
    title = f"node: a blob of {setting.size(_SIZE) / MIB:.1f} MiB and a manifest that the registry has, through a proxy"
    program = _registry()
    lacking = missing(REGISTRY, NGINX, "tc", "ip")
    if lacking:
        return Result(title, NGINX, missing=lacking)
    figures: list[Figure] = []
    with _node(setting, program, None) as node:
        figures.append(Figure("idle, PSS", "MiB", (pss(node.ours.pid) / MIB,), (pss(node.servers[NGINX].pid) / MIB,)))
        _prove(node)
        figures += _latencies(setting, node)
        figures += _all_streams(setting, node, "loopback")
    if link.possible():
        with link.shaped() as shaped, _node(setting, program, shaped) as node:
            _prove(node)
            figures += _all_streams(setting, node, "10 Gbit/s")
    return Result(title, f"{NGINX} (buffered), or as the line says", tuple(figures), notes=_notes(program))


def _notes(program: str) -> tuple[str, ...]:
    there = () if link.possible() else ("the link of 10 Gbit/s needs root, and was left out",)
    return (
        f"the registry is {_called(program)}; CPU and memory are the proxies' own; clients share the machine",
        "each blob was read three times before, so that kuik has proven it",
        *there,
    )


def _called(program: str) -> str:
    return f"Debian's {REGISTRY}" if program == REGISTRY else "CNCF distribution 3"


def _registry() -> str:
    """Distribution 3 where it was built, or Debian's."""
    built = cache() / "registry"
    return str(built) if built.exists() else REGISTRY


@contextmanager
def _node(setting: Setting, program: str, shaped: link.Link | None) -> Iterator[Node]:
    folder = setting.folder / ("shaped" if shaped else "plain")
    built = image("node", layers=1, layer_size=setting.size(_SIZE))
    with ExitStack() as stack:
        source = stack.enter_context(upstream(folder / "upstream"))
        repository = f"{host_to_segment(source.host)}/{_REPOSITORY}"
        source.push(built, _REPOSITORY, "1")
        source.push(built, repository, "1")
        storage = source.folder / "data"
        inside, address = (shaped.inside, shaped.address) if shaped else ((), "127.0.0.1")
        direct = stack.enter_context(
            registry(folder / "registry", storage=storage, program=program, inside=inside, address=address)
        )
        servers = {
            "kuik": stack.enter_context(proxy(folder / "kuik", direct.host, source.host)),
            NGINX: stack.enter_context(nginx(folder / "nginx", direct.host)),
            PULL_THROUGH: stack.enter_context(
                registry(folder / "through", storage=folder / "kept", remote=direct.host, program=program)
            ),
            DIRECT: direct,
        }
        manifests = {one: f"/v2/{repository}/manifests/{of}" for one, of in (("digest", built.digest), ("tag", "1"))}
        yield Node(servers, largest_blob(built, repository), manifests)


def _prove(node: Node) -> None:
    """Let everybody have what it keeps, and kuik see that the same blob asked for again is sound."""
    for server in node.servers.values():
        for _ in range(3):
            download(server.host, node.blob)


def _latencies(setting: Setting, node: Node) -> Iterator[Figure]:
    for kind, path in node.manifests.items():
        setting.say(f"node: manifests by {kind}")
        found: dict[str, list[list[float]]] = {name: [] for name in node.servers}
        count = max(int(_REQUESTS * min(setting.scale * 5, 1)), _FEWEST)
        for _ in range(setting.rounds):
            for name, server in node.servers.items():
                found[name].append(latencies(server.host, path, count))
        for share, called in ((0.5, "p50"), (0.99, "p99")):
            values = {name: tuple(percentile(one, share) for one in rounds) for name, rounds in found.items()}
            for peer in (DIRECT, NGINX, PULL_THROUGH):
                yield Figure(f"manifest by {kind}, {called}, beside {peer}", "ms", values["kuik"], values[peer])


@dataclass(frozen=True, slots=True)
class Streamed:
    """`speed` in MiB/s of all streams together, `cpu` in seconds for a GiB, `peak` PSS in MiB."""

    speed: float
    cpu: float
    peak: float


def _all_streams(setting: Setting, node: Node, where: str) -> Iterator[Figure]:
    for clients in _STREAMS:
        setting.say(f"node: {clients} streams, {where}")
        found: dict[str, list[Streamed]] = {name: [] for name in node.servers}
        for _ in range(setting.rounds):
            for name, server in node.servers.items():
                found[name].append(_stream(server, node.blob, clients))
        named = f"{where}, {clients} stream{'s' if clients > 1 else ''}"
        speeds = {name: tuple(one.speed for one in rounds) for name, rounds in found.items()}
        costs = {name: tuple(one.cpu for one in rounds) for name, rounds in found.items()}
        peaks = {name: tuple(one.peak for one in rounds) for name, rounds in found.items()}
        yield Figure(f"{named}, throughput", "MiB/s", speeds["kuik"], speeds[NGINX], better=MORE)
        yield Figure(f"{named}, CPU", "s/GiB", costs["kuik"], costs[NGINX])
        yield Figure(f"{named}, peak PSS", "MiB", peaks["kuik"], peaks[NGINX])
        for peer in (PULL_THROUGH, DIRECT):
            yield Figure(f"{named}, throughput, beside {peer}", "MiB/s", speeds["kuik"], speeds[peer], better=MORE)
        yield Figure(f"{named}, CPU, beside {PULL_THROUGH}", "s/GiB", costs["kuik"], costs[PULL_THROUGH])


def _stream(server: Server, blob: str, clients: int) -> Streamed:
    with measured(server.pid) as meter:
        total = downloads(server.host, blob, clients, _STREAMS[clients])
    cost = meter.cost
    return Streamed(total / MIB / cost.wall, cost.cpu / (total / GIB), cost.peak / MIB)
