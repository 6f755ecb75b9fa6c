"""Many pulls from many clients while every process of kuik is killed and started in turn.

`python -m tests.dataplane.chaos` holds the full size (`make chaos`); the suite holds a smaller one. A pull may be tried
again, as kubelet does, only where the proxy that it went through was killed in the middle of it.
"""

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from registry.digest import Digest
from tests.dataplane.rig.holder import READS, Holder
from tests.rig.components import Component, proxy, shield
from tests.rig.images import BuiltImage, image, multi_platform
from tests.rig.processes import listening, wait_until
from tests.rig.puller import Image, Pulled, Puller
from tests.rig.upstream import Upstream

NODES = 2
COPYING = 4
DEAD_FOR, ALIVE_FOR = 0.7, 1.0
ATTEMPTS = 6
LONGEST_PULL = 30.0
BACK_OFF = 2.0
"""Seconds before a retry; kubelet's are 10 and more."""


@dataclass(frozen=True)
class Size:
    """At least so many pulls, and until each process was killed `rounds` times; `seconds` bounds it all."""

    pulls: int = 1000
    images: int = 200
    clients: int = 50
    rounds: int = 8
    seconds: float = 300.0


SMALL = Size(pulls=200, images=30, clients=20, rounds=2, seconds=60.0)


@dataclass(frozen=True)
class Kill:
    """A process that was not there from `at` until `back` (seconds of the monotonic clock)."""

    name: str
    at: float
    back: float


@dataclass(frozen=True)
class Attempt:
    """One try to pull through one proxy."""

    proxy: str
    begun: float
    ended: float
    pulled: Pulled

    def excused_by(self, kills: Sequence[Kill]) -> bool:
        """Whether its proxy died, or was dead, meanwhile."""
        return any(kill.name == self.proxy and kill.at <= self.ended and kill.back >= self.begun for kill in kills)


@dataclass
class Report:
    """What happened: for each pull its attempts."""

    size: Size
    pulls: list[tuple[str, list[Attempt]]]
    kills: list[Kill]
    begun: float
    seconds: float
    upstream: Counter[str]
    wrong: list[str] = field(default_factory=list)

    @property
    def failures(self) -> list[str]:
        """What must not be: pulls that did not come, or that came only at a retry that no killed proxy excuses."""
        found = list(self.wrong)
        for name, attempts in self.pulls:
            if not attempts or not attempts[-1].pulled.served:
                found.append(f"{name} did not come: {attempts[-1].pulled if attempts else 'out of time'}")
            found += [
                f"{name} needed a retry through {attempt.proxy} at {attempt.ended - self.begun:.1f} s: "
                f"{attempt.pulled.outcome}, {attempt.pulled.message}"
                for attempt in attempts
                if not attempt.pulled.served and not attempt.excused_by(self.kills)
            ]
        return found

    def __str__(self) -> str:
        again = [len(attempts) - 1 for _, attempts in self.pulls if attempts]
        took = sorted(attempts[-1].pulled.seconds for _, attempts in self.pulls if attempts)
        lines = [
            f"{len(self.pulls)} pulls of {self.size.images} images by {self.size.clients} clients "
            f"in {self.seconds:.0f} s: {len(self.failures)} failures, {sum(again)} retries, "
            f"{max(again, default=0)} at most for one pull",
            f"seconds of a pull: median {took[len(took) // 2]:.2f}, longest {took[-1]:.2f}"
            if took
            else "no pull ended",
            f"asked of upstream: {', '.join(f'{count} {what}' for what, count in sorted(self.upstream.items()))}",
            "killed: "
            + ", ".join(
                f"{kill.name} {kill.at - self.begun:.1f}-{kill.back - self.begun:.1f} s" for kill in self.kills
            ),
        ]
        return "\n".join(lines + self.failures[:20])


class Cluster:
    """The processes, and the images that they serve; every second one is in the registry already."""

    def __init__(self, folder: Path, images: int) -> None:
        self.upstream = Upstream(folder / "upstream").start()
        self.registry = Holder(folder / "registry").start()
        plain = ("--plain-http", self.upstream.host)
        self.shield = shield(folder / "shield", *plain).start()
        sources = ("--registry", self.registry.url, "--shield", self.shield.url)
        self.proxies = [proxy(folder / f"proxy-{n}", *sources, *plain) for n in range(NODES)]
        for node in self.proxies:
            node.environment = READS
            node.start()
        self.built = {f"team/app-{number}": _image(number) for number in range(images)}
        for name, built in self.built.items():
            self.upstream.push(built, name, "1")
        with ThreadPoolExecutor(COPYING) as pool:
            list(pool.map(self._copy, list(self.built)[::2]))
        self.upstream.forget_requests()

    @property
    def processes(self) -> dict[str, Component | Holder]:
        """What is killed, in turn."""
        nodes = {f"proxy-{number}": node for number, node in enumerate(self.proxies)}
        return {"registry": self.registry, "shield": self.shield, **nodes}

    def image(self, name: str, *, by_digest: bool) -> Image:
        """How a client asks a proxy for it."""
        prefix = self.upstream.host.replace(":", "__") + "/"
        return Image(name, str(self.built[name].digest) if by_digest else "1", prefix)

    def stop(self) -> None:
        for process in (*self.processes.values(), self.upstream):
            process.stop()

    def _copy(self, name: str) -> None:
        copied = self.registry.copy(f"{self.upstream.host}/{name}:1", self.shield)
        assert "digest" in copied, copied


def hold(folder: Path, size: Size, say: Callable[[str], object] = print) -> Report:
    """Pull, kill and start until every pull has ended or time is up; what happened."""
    cluster = Cluster(folder, size.images)
    say("the cluster stands, and every second image is copied")
    try:
        return _storm(cluster, size)
    finally:
        cluster.stop()


def _storm(cluster: Cluster, size: Size) -> Report:
    begun = time.monotonic()
    deadline = begun + size.seconds
    kills: list[Kill] = []
    names = list(cluster.built)
    pulls: list[tuple[str, list[Attempt]]] = []
    wrong: list[str] = []
    enough = size.rounds * len(cluster.processes)

    def client(number: int) -> None:
        choose = random.Random(number)  # noqa: S311  the same mix each time
        while (len(pulls) < size.pulls or len(kills) < enough) and time.monotonic() < deadline:
            name, node = choose.choice(names), choose.randrange(NODES)
            wanted = cluster.image(name, by_digest=choose.random() < 0.5)
            attempts = list(_attempts(cluster, node, wanted, deadline))
            pulls.append((name, attempts))
            if attempts and attempts[-1].pulled.served and not _right(attempts[-1].pulled, cluster.built[name]):
                wrong.append(f"{name} came with other bytes")

    with _killing(cluster, kills), ThreadPoolExecutor(size.clients) as pool:
        list(pool.map(client, range(size.clients)))
    asked = Counter(
        f"{method} {'blobs' if '/blobs/' in path else 'manifests'}" for method, path, _ in cluster.upstream.requests()
    )
    return Report(size, pulls, kills, begun, time.monotonic() - begun, asked, wrong)


def _attempts(cluster: Cluster, node: int, wanted: Image, deadline: float) -> Iterator[Attempt]:
    name, component = f"proxy-{node}", cluster.proxies[node]
    puller = Puller(component.host, LONGEST_PULL)
    for _ in range(ATTEMPTS):
        begun = time.monotonic()
        if begun > deadline:
            return
        pulled = puller.pull(wanted)
        yield Attempt(name, begun, time.monotonic(), pulled)
        if pulled.served:
            return
        time.sleep(BACK_OFF)
        wait_until(lambda: listening(component.port), f"{name} is back")


@contextmanager
def _killing(cluster: Cluster, kills: list[Kill]) -> Iterator[None]:
    """Kill one process after the other, and start it again, while the block runs; all are there at its end."""
    over = threading.Event()

    def run() -> None:
        while not over.is_set():
            for name, process in cluster.processes.items():
                if over.wait(ALIVE_FOR):
                    return
                at = time.monotonic()
                process.kill()
                time.sleep(DEAD_FOR)
                process.start()
                kills.append(Kill(name, at, time.monotonic()))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(60)


def _image(number: int) -> BuiltImage:
    """Images of several sizes and kinds."""
    size = (5_000, 50_000, 400_000)[number % 3]
    if number % 5 == 0:
        return multi_platform(f"chaos-{number}", layer_size=size)
    return image(f"chaos-{number}", layers=1 + number % 4, layer_size=size, docker=number % 2 == 1)


def _right(pulled: Pulled, built: BuiltImage) -> bool:
    """Whether all of the image came, and nothing else; the client checked each digest as it came."""
    wanted = (
        next(raw for _, raw in built.manifests.values() if b'"arm64"' not in raw)
        if built.platform is None
        else built.raw
    )
    manifest = json.loads(wanted)
    blobs = {blob["digest"]: blob["size"] for blob in (manifest["config"], *manifest["layers"])}
    manifests = {str(built.digest): len(built.raw), str(Digest.of(wanted)): len(wanted)}
    return pulled.content == blobs | manifests


def main() -> None:
    """The full size, or another."""
    options = argparse.ArgumentParser(description=__doc__)
    for name, default in (
        ("pulls", Size.pulls),
        ("images", Size.images),
        ("clients", Size.clients),
        ("rounds", Size.rounds),
    ):
        options.add_argument(f"--{name}", type=int, default=default)
    options.add_argument("--seconds", type=float, default=Size.seconds, help="the longest that it may take")
    with tempfile.TemporaryDirectory(prefix="kuik-chaos-") as folder:
        report = hold(Path(folder), Size(**vars(options.parse_args())))
    print(report)  # noqa: T201  what the command is for
    sys.exit(1 if report.failures else 0)


if __name__ == "__main__":
    main()
