"""Many images are copied by four Jobs at once while whatever takes part is killed again and again.

`python -m tests.cluster.chaos` holds the full size (`make chaos`); the suite holds a smaller one. All of kuik is real:
the stages on an API server, the Jobs' pods, the keeper with the registry's writer, a reader, the shield. At the end
every image is cached and verified, what readers serve is what upstream has, and upstream has served each blob once,
and once more for each kill that hit its transfer.
"""

import argparse
import json
import os
import random
import re
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from hooks.conditions import condition, holds
from registry.digest import Digest
from registry.errors import RegistryError
from registry.reference import Reference
from registry.targets import RegistryTarget
from tests.cluster.rig.everything import Cluster
from tests.cluster.rig.everything import cluster as everything
from tests.cluster.rig.kept import Scene, writers
from tests.cluster.rig.source import Transfer
from tests.cluster.rig.workloads import image_cache, namespace, pod
from tests.rig.images import BuiltImage, image, index
from tests.rig.processes import wait_until

AT_ONCE = 4
IN_A_POD = 10
BASES = 12
SETTLING = 1.5
"""Seconds after a transfer in which what takes it may not have it safely yet."""
LONGEST_CALM = 6.0
VICTIMS = ("job", "job", "job", "shield", "shield", "keeper", "writer", "reader")
QUICK = {"grace": "1s", "sweepEvery": "5s"}


@dataclass(frozen=True)
class Size:
    """`seconds` bounds it all."""

    images: int = 300
    kills: int = 100
    seconds: float = 900.0
    seed: int = 1


SMALL = Size(images=16, kills=8, seconds=150.0)


@dataclass(frozen=True)
class Kill:
    """What was killed, and when (seconds of the monotonic clock); of a Job also the blobs of its image."""

    name: str
    at: float
    blobs: frozenset[str] = frozenset()

    def concerns(self, digest: str) -> bool:
        """Whether a transfer of the blob to the registry may have gone through it."""
        return self.name != "reader" and (self.name != "job" or digest in self.blobs)

    def hits(self, transfer: Transfer) -> bool:
        """Whether the transfer may have been broken by it."""
        return self.concerns(transfer.digest) and transfer.begun <= self.at <= transfer.ended + SETTLING


@dataclass
class Report:
    """What happened."""

    size: Size
    seconds: float
    kills: list[Kill]
    transfers: list[Transfer]
    copies: str
    wrong: list[str] = field(default_factory=list)

    @property
    def failures(self) -> list[str]:
        return self.wrong + list(self._served_too_often())

    def _served_too_often(self) -> Iterator[str]:
        for digest in {transfer.digest for transfer in self.transfers}:
            mine = [transfer for transfer in self.transfers if transfer.digest == digest]
            hits = [kill for kill in self.kills if any(kill.hits(transfer) for transfer in mine)]
            if len(mine) > 1 + len(hits):
                yield f"upstream served {digest} {len(mine)} times, and {len(hits)} kills hit it: {mine}"

    def __str__(self) -> str:
        blobs = Counter(transfer.digest for transfer in self.transfers)
        broken = sum(not transfer.whole for transfer in self.transfers)
        struck = sum(any(kill.hits(transfer) for transfer in self.transfers) for kill in self.kills)
        killed = Counter(kill.name for kill in self.kills)
        lines = [
            f"{self.size.images} images in {self.seconds:.0f} s (seed {self.size.seed}): {len(self.failures)} failures",
            f"copies: {self.copies}",
            f"{len(self.kills)} kills, {struck} of them during a transfer from upstream: "
            + ", ".join(f"{count} {name}" for name, count in sorted(killed.items())),
            f"upstream served {len(blobs)} blobs by {len(self.transfers)} requests, of which {broken} broke off; "
            f"{sum(count > 1 for count in blobs.values())} blobs were asked for again",
        ]
        return "\n".join(lines + self.failures[:20])


def hold(folder: Path, size: Size, say: Callable[[str], object] = print) -> Report:
    """Copy and kill until all images are safe, or time is up; what happened."""
    built = {f"team/app-{number}": _image(number) for number in range(size.images)}
    with everything(folder, built) as running:
        say(f"{size.images} images are upstream, and the cluster stands; the seed is {size.seed}")
        return _storm(running, size, say)


def _storm(cluster: Cluster, size: Size, say: Callable[[str], object]) -> Report:
    begun, kills = time.monotonic(), list[Kill]()
    _use(cluster)
    over = threading.Event()
    killer = threading.Thread(target=_killing, args=(cluster, size, kills, over), name="kills")
    killer.start()
    told = begun
    try:
        while time.monotonic() < begun + size.seconds:
            done = cluster.done()
            if done == size.images and len(kills) >= size.kills:
                break
            if time.monotonic() - told > 30:
                told = time.monotonic()
                say(f"{told - begun:.0f} s: {done} images are safe after {len(kills)} kills")
            time.sleep(1)
    finally:
        over.set()
        killer.join(90)
    seconds, runner = time.monotonic() - begun, cluster.runner
    reasons = Counter(re.findall(r'"reason": "(\w+)"', runner.said))
    why = ", ".join([f"{runner.killed} killed", *(f"{count} {reason}" for reason, count in sorted(reasons.items()))])
    copies = f"{runner.started} Jobs, at most {runner.most} at once, {runner.failed} failed: {why}"
    report = Report(size, seconds, kills, list(cluster.source.transfers), copies)
    report.wrong += [f"{len(kills)} kills instead of {size.kills}"] if len(kills) < size.kills else []
    report.wrong += [f"{runner.most} copies at once"] if runner.most > AT_ONCE else []
    report.wrong += [*_unsafe(cluster), *_unlike(cluster)]
    return report


def _killing(cluster: Cluster, size: Size, kills: list[Kill], over: threading.Event) -> None:
    """One kill after another, spread over the copies; `over` ends it."""
    choose = random.Random(size.seed)  # noqa: S311  the same mix each time
    while len(kills) < size.kills and not over.is_set():
        due, calm = 0.9 * size.images * len(kills) / size.kills, time.monotonic() + LONGEST_CALM
        while cluster.runner.succeeded < due and time.monotonic() < calm and not over.is_set():
            time.sleep(0.05)
        over.wait(choose.uniform(0.1, 1.0))
        killed = kill(cluster, choose.choice(VICTIMS), choose)
        if killed:
            kills.append(killed)


def kill(cluster: Cluster, victim: str, choose: random.Random) -> Kill | None:
    """Kill it, and start it again after a moment; None where there is nothing to kill."""
    pause = choose.uniform(0.1, 1.0)
    if victim == "job":
        return _kill_job(cluster, choose)
    at: float | None = time.monotonic()
    if victim in ("shield", "reader"):
        process = cluster.shield if victim == "shield" else cluster.scene.reader
        process.kill()
        time.sleep(pause)
        process.start()
    elif victim == "keeper":
        cluster.scene.kill()
        time.sleep(pause)
        cluster.scene.start()
    else:
        at = _kill_writer(cluster.scene, pause)
    return Kill(victim, at) if at else None


def _kill_job(cluster: Cluster, choose: random.Random) -> Kill | None:
    killed = cluster.runner.kill(choose)
    if killed is None:
        return None
    image, at = killed
    return Kill("job", at, frozenset(map(str, cluster.built[image].blobs)))


def _kill_writer(scene: Scene, pause: float) -> float | None:
    """With the writer its keeper ends, as their pod's container does."""
    keeper = scene.keeper
    assert keeper
    alive = writers(keeper)
    if not alive:  # it collects garbage, or has not begun
        return None
    at = time.monotonic()
    with suppress(ProcessLookupError):
        os.kill(alive[0], signal.SIGKILL)
    wait_until(lambda: keeper.poll() is not None or bool(set(writers(keeper)) - {alive[0]}), "the keeper sees it")
    if keeper.poll() is not None:
        time.sleep(pause)
        scene.start()
    return at


def _unsafe(cluster: Cluster) -> Iterator[str]:
    """Images that are not cached, not verified, or that are other ones."""
    found = cluster.images
    for name, built in cluster.built.items():
        one = found.get(name)
        if one is None:
            yield f"{name} has no CachedImage"
            continue
        status = one.get("status") or {}
        for kind in ("Cached", "Verified"):
            if not holds(one, kind):
                yield f"{name} is not {kind}: {condition(one, kind)}, {status}, {one['metadata'].get('annotations')}"
        if status.get("digest") != str(built.digest):
            yield f"{name} is {status.get('digest')}, upstream's is {built.digest}"


def _unlike(cluster: Cluster) -> Iterator[str]:
    """What the registry's reader does not serve as upstream has it."""
    stored = RegistryTarget(cluster.scene.client(write=False), cluster.scene.reader.host).stored
    seen: set[Digest] = set()
    for name, built in cluster.built.items():
        reference = Reference.parse(name)
        try:
            if stored.manifest(reference).raw != built.raw:
                yield f"{name} is served with other bytes"
            for digest, (_, raw) in built.manifests.items():
                if stored.manifest(reference.with_digest(digest)).raw != raw:
                    yield f"{name}: {digest} is served with other bytes"
            for digest, blob in built.blobs.items():
                with stored.open_blob(reference, digest) as pieces:
                    same = b"".join(pieces) == blob if digest not in seen else True
                seen.add(digest)
                if not same:
                    yield f"{name}: {digest} is served with other bytes"
        except RegistryError as error:
            yield f"{name} is not served: {error}"


def _use(cluster: Cluster) -> None:
    """Pods use all images."""
    apply = cluster.plane.kubectl
    apply("apply", "-f", "-", stdin=json.dumps(image_cache(keeper=QUICK, copies={"concurrency": AT_ONCE})))
    apply("create", "-f", "-", stdin=json.dumps(namespace("shop")))
    names = list(cluster.built)
    pods = [pod("shop", f"p{at}", *names[at : at + IN_A_POD]) for at in range(0, len(names), IN_A_POD)]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": pods})
    wait_until(lambda: cluster.plane.try_kubectl("apply", "-f", "-", stdin=text).returncode == 0, "pods use them")


def _image(number: int) -> BuiltImage:
    """Images of several sizes and kinds, many of which share layers."""
    if number % 7 == 0:
        return index([_one(number, f"linux/{architecture}") for architecture in ("amd64", "arm64")])
    return _one(number, "linux/amd64")


def _one(number: int, platform: str) -> BuiltImage:
    """A few small layers of its own, now and then a large one, on the layers of one of BASES."""
    base = image(f"base-{number % BASES}", layers=2, layer_size=200_000, platform=platform)
    size = 3_000_000 if number % 4 == 1 else 50_000 + 10_000 * (number % 20)
    own = image(f"app-{number}", layers=1 + number % 2, layer_size=size, platform=platform)
    manifest = json.loads(own.raw)
    manifest["layers"] = json.loads(base.raw)["layers"] + manifest["layers"]
    raw = json.dumps(manifest, separators=(",", ":")).encode()
    digest = Digest.of(raw)
    config = Digest.parse(json.loads(base.raw)["config"]["digest"])
    blobs = {**own.blobs, **{name: blob for name, blob in base.blobs.items() if name != config}}
    return replace(own, raw=raw, digest=digest, manifests={digest: (own.media_type, raw)}, blobs=blobs)


def main() -> None:
    """The full size, or another."""
    options = argparse.ArgumentParser(description=__doc__)
    for name in ("images", "kills", "seed"):
        options.add_argument(f"--{name}", type=int, default=getattr(Size, name))
    options.add_argument("--seconds", type=float, default=Size.seconds, help="the longest that it may take")
    with tempfile.TemporaryDirectory(prefix="kuik-chaos-") as folder:
        report = hold(Path(folder), Size(**vars(options.parse_args())))
    print(report)  # noqa: T201  what the command is for
    sys.exit(1 if report.failures else 0)


if __name__ == "__main__":
    main()
