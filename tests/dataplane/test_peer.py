"""kuik beside distribution's own pull-through cache, in one run: what a herd costs, and what is left without upstream.

The peer's figures are printed and not asserted: they are facts of another project.
"""

import http.client
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.dataplane.rig.distribution import pull_through
from tests.dataplane.rig.holder import READS, Holder
from tests.rig.components import TOKEN, Component, proxy, shield
from tests.rig.images import image
from tests.rig.link import Link
from tests.rig.puller import ACCEPT, Image, Puller
from tests.rig.upstream import Upstream

CLIENTS = 20
PATIENCE = 6.0
BUILT, RANGED = image("beside", layers=3, layer_size=400_000), image("ranged", layers=1, layer_size=400_000)
Parts = tuple[Upstream, Holder, Component, Component]
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}


@dataclass(frozen=True)
class Side:
    """A cache in front of an upstream of its own, which a link leads to; `prefix` is what its paths begin with."""

    name: str
    host: str
    upstream: Upstream
    link: Link
    prefix: str = ""

    def herd(self) -> tuple[int, int]:
        """CLIENTS pull the image at once: how many got it, and the most GETs that upstream had of one thing."""
        self.upstream.forget_requests()
        with ThreadPoolExecutor(CLIENTS) as pool:
            pulls = list(pool.map(Puller(self.host, 30).pull, [Image("team/app", "1", self.prefix)] * CLIENTS))
        asked = Counter(path for method, path, _ in self.upstream.requests() if method == "GET" and path != "/v2/")
        return sum(pulled.served for pulled in pulls), max(asked.values())

    def part(self) -> int:
        """The status of a range of a blob that was not asked for before."""
        digest = max(RANGED.blobs, key=lambda digest: len(RANGED.blobs[digest]))
        status, body = ask(self.host, f"/v2/{self.prefix}team/ranged/blobs/{digest}", Range="bytes=1000-1999")
        return 206 if (status, body) == (206, RANGED.blobs[digest][1000:2000]) else status

    def tag(self) -> float | None:
        """Seconds until it says what a tag is; None when it does not within PATIENCE."""
        begun = time.monotonic()
        status, body = ask(self.host, f"/v2/{self.prefix}team/app/manifests/1")
        return time.monotonic() - begun if (status, body) == (200, BUILT.raw) else None


def ask(host: str, path: str, **headers: str) -> tuple[int, bytes]:
    """Status and body of a GET; 0 where there is no answer."""
    connection = http.client.HTTPConnection(host, timeout=PATIENCE)
    try:
        connection.request("GET", path, headers={"Accept": ACCEPT} | headers)
        response = connection.getresponse()
        return response.status, response.read()
    except OSError:
        return 0, b""
    finally:
        connection.close()


@dataclass(frozen=True)
class Figures:
    """What one side showed."""

    name: str
    served: int
    gets: int
    part: int
    first: float | None
    then: float | None


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Figures]]:
    """kuik's figures, then the peer's."""
    folder = tmp_path_factory.mktemp("beside")
    with ExitStack() as stack:
        found = [(upstream, stack.enter_context(Link(upstream.host))) for upstream in _upstreams(folder, stack)]
        (upstream, link), (its_upstream, its_link) = found
        registry = Holder(folder / "registry").start()
        a_shield = shield(folder / "shield", "--plain-http", link.host, "--freshness", "0").start()
        words = ("--registry", registry.url, "--shield", a_shield.url, "--plain-http", link.host)
        node = proxy(folder / "node", *words)
        node.environment = READS
        node.start()
        peer = pull_through(folder / "peer", its_link.host).start()
        for one in (registry, a_shield, node, peer):
            stack.callback(one.stop)
        ours = Side("kuik", node.host, upstream, link, link.host.replace(":", "__") + "/")
        theirs = Side("distribution's pull-through cache", peer.host, its_upstream, its_link)
        herds, parts = [side.herd() for side in (ours, theirs)], [side.part() for side in (ours, theirs)]
        assert "digest" in registry.copy(f"{link.host}/team/app:1", a_shield)
        for broken in (link, its_link):  # connections that are there fall silent, and no new one is answered
            broken.swallow()
        yield [_figures(ours, herds[0], parts[0]), _figures(theirs, herds[1], parts[1])]


def _upstreams(folder: Path, stack: ExitStack) -> Iterator[Upstream]:
    for number in range(2):
        upstream = Upstream(folder / f"upstream-{number}").start()
        stack.callback(upstream.stop)
        upstream.push(BUILT, "team/app", "1")
        upstream.push(RANGED, "team/ranged", "1")
        yield upstream


def _figures(side: Side, herd: tuple[int, int], part: int) -> Figures:
    first = side.tag()
    later = [side.tag() for _ in range(9)] if first is not None else []
    answered = [seconds for seconds in later if seconds is not None]
    return Figures(side.name, *herd, part, first, statistics.median(answered) if answered else None)


def test_a_herd_costs_one_get_a_range_is_given_and_a_tag_outlives_upstream(
    beside: list[Figures], capsys: pytest.CaptureFixture[str]
) -> None:
    ours = beside[0]
    with capsys.disabled():
        print(f"\n{'':34}{f'{CLIENTS} cold pulls':26}{'cold Range':14}tag, upstream black-holed")  # noqa: T201
        for one in beside:
            first, then = (
                f"{s * 1000:.0f} ms" if s is not None else f"> {PATIENCE:.0f} s" for s in (one.first, one.then)
            )
            herd = f"{one.served} came, {one.gets} GETs each"
            print(f"{one.name:34}{herd:26}{one.part:<14}{first}, then {then}")  # noqa: T201
    assert (ours.served, ours.gets) == (CLIENTS, 1)
    assert ours.part == 206
    assert ours.first is not None
    assert ours.first < 2
    assert ours.then is not None
    assert ours.then < 0.05


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    """Upstream, registry, shield and proxy; none of them runs, and the registry has a copy of the image."""
    upstream, registry = Upstream(tmp_path / "upstream"), Holder(tmp_path / "registry")
    a_shield = shield(tmp_path / "shield", "--plain-http", upstream.host)
    words = ("--registry", registry.url, "--shield", a_shield.url, "--plain-http", upstream.host)
    node = proxy(tmp_path / "node", *words)
    node.environment = READS
    everything: tuple[Upstream | Holder | Component, ...] = (upstream, registry, a_shield)
    for one in everything:
        one.start()
    upstream.push(BUILT, "team/app", "1")
    upstream.push(RANGED, "team/ranged", "1")
    assert "digest" in registry.copy(f"{upstream.host}/team/app:1", a_shield)
    for one in everything:
        one.stop()
    yield upstream, registry, a_shield, node
    for last in (node, *everything):
        last.stop()


@pytest.mark.parametrize("dead", ["upstream", "registry", "shield"])
def test_everything_starts_while_one_part_is_dead_and_serves_what_it_can(parts: Parts, dead: str) -> None:
    upstream, registry, a_shield, node = parts
    everything: dict[str, Upstream | Holder | Component] = {
        "upstream": upstream,
        "registry": registry,
        "shield": a_shield,
    }
    for name, part in (everything | {"node": node}).items():
        if name != dead:
            part.start()
    pull, prefix = Puller(node.host, 10).pull, upstream.host.replace(":", "__") + "/"
    cached, cold = pull(Image("team/app", "1", prefix)), pull(Image("team/ranged", "1", prefix))
    assert cached.served, cached
    assert (cold.outcome == "unavailable") if dead == "upstream" else cold.served, cold
    if dead != "shield":
        path = f"/v2/{prefix}team/app/blobs/{next(iter(BUILT.blobs))}"
        assert a_shield.get(path, AUTHORIZED).status == 200  # from its spool, where upstream is dead
