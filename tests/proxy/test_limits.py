"""What a registry is asked at once, and what it is not asked because it just said so."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from proxy.breaker import Breakers
from proxy.errors import NotAsked
from proxy.path import Kind, Route
from proxy.shield.lately import ABSENCE
from proxy.shield.limits import Limits, Turns
from proxy.shield.origin import Rules, Shield
from proxy.shield.spool import Spool
from proxy.sources.message import Request
from registry.blobs import BlobFolder
from registry.client import Client
from registry.digest import Digest
from registry.errors import NotFound, RateLimited, RegistryError
from registry.pauses import Pauses
from registry.transport import NO_RETRIES, Timeouts, Transport
from tests.rig import faulty
from tests.rig.components import TOKEN, Component, proxy, shield
from tests.rig.faulty import Relay
from tests.rig.images import BuiltImage, image
from tests.rig.processes import wait_until
from tests.rig.reader import everything_plain
from tests.rig.upstream import Upstream

BUILT: BuiltImage = image("limited", layers=4, layer_size=100_000)
LAYERS = [digest for digest, blob in BUILT.blobs.items() if len(blob) > 50_000]
GONE = Digest.of(b"not there")
BLOBS = "/blobs/"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def relay(upstream: Upstream) -> Iterator[Relay]:
    upstream.push(BUILT, "team/app", "1")
    with Relay(upstream.host) as between:
        yield between


def make(folder: Path, clock: Clock, limits: Limits = Limits(), size: int = 1 << 30) -> Shield:  # noqa: B008
    transport = Transport(everything_plain, timeouts=Timeouts(1, 10), retries=NO_RETRIES, pauses=Pauses(clock))
    spool = Spool(BlobFolder(folder / "spool"), size)
    return Shield(Client(transport), spool, Rules(limits=lambda _host: limits), clock)


def asked(relay: Relay, kind: Kind, target: object, method: str = "GET") -> Request:
    return Request(Route(relay.host, "team/app", kind, str(target)), method)


def pulled(shield: Shield, request: Request) -> bytes:
    with closing(shield.fetch(request).body) as body:
        return b"".join(body)


def test_no_more_blobs_come_at_once_than_the_registry_is_given(relay: Relay, tmp_path: Path) -> None:
    shield, go_on = make(tmp_path, Clock(), Limits(transfers=2)), threading.Event()
    coming: list[int] = [0]
    most = [0]

    def held(exchange: faulty.Exchange) -> None:
        coming[0] += 1
        most[0] = max(most[0], coming[0])
        faulty.hold(go_on, after=1000)(exchange)
        coming[0] -= 1

    relay.rule(held, path=BLOBS, times=None)
    with ThreadPoolExecutor(len(LAYERS)) as pool:
        pulls = [pool.submit(pulled, shield, asked(relay, Kind.BLOB, digest)) for digest in LAYERS]
        wait_until(lambda: coming[0] >= 2, "two blobs come")
        # Small questions have a share of their own.
        assert pulled(shield, asked(relay, Kind.MANIFEST, "1")) == BUILT.raw
        assert shield.turns.under_way(relay.host).transfers == 2
        go_on.set()
        assert [pull.result(20) for pull in pulls] == [BUILT.blobs[digest] for digest in LAYERS]
    assert most == [2]
    wait_until(lambda: shield.turns.under_way(relay.host) == Limits(0, 0), "all turns are given back")


def test_a_blob_that_passes_a_spool_too_small_holds_its_turn_to_its_end(relay: Relay, tmp_path: Path) -> None:
    shield = make(tmp_path, Clock(), size=1000)
    answer = shield.fetch(asked(relay, Kind.BLOB, LAYERS[0]))
    wait_until(lambda: shield.turns.under_way(relay.host) == Limits(1, 0), "the blob comes")
    answer.body.close()
    assert shield.turns.under_way(relay.host) == Limits(0, 0)


def test_who_gets_no_turn_in_time_learns_why_and_others_are_not_held_up() -> None:
    turns = Turns(Breakers(), lambda host: Limits(1, 1) if host == "slow" else Limits(), patience=0.05)
    with turns.guard("slow"):
        with pytest.raises(NotAsked, match="slow has 1 requests under way") as refused, turns.guard("slow"):
            pass
        assert refused.value.retry_after
        with turns.transfer("slow"), turns.guard("fast"):
            pass
    with turns.guard("slow"):
        pass


def test_a_limit_that_is_raised_counts_at_once() -> None:
    most = [1]
    turns = Turns(Breakers(), lambda _host: Limits(most[0], 1), patience=0.05)
    with turns.transfer("a"):
        most[0] = 2
        with turns.transfer("a"), pytest.raises(NotAsked), turns.transfer("a"):
            pass


def test_a_429_is_told_with_what_remains_and_the_registry_is_left_alone(relay: Relay, tmp_path: Path) -> None:
    clock = Clock()
    shield = make(tmp_path, clock)
    relay.rule(faulty.error(429, "TOOMANYREQUESTS", headers={"Retry-After": "100"}))
    questions = [asked(relay, Kind.MANIFEST, "1"), asked(relay, Kind.BLOB, LAYERS[0]), asked(relay, Kind.TAGS, "")]
    for spent, question in enumerate(questions):
        with pytest.raises(RateLimited) as refused:
            shield.fetch(question)
        assert refused.value.retry_after == 100 - spent * 10
        clock.now += 10
    assert len(relay.requests) == 1
    clock.now += 70
    assert pulled(shield, questions[0]) == BUILT.raw


def test_what_is_known_is_told_while_the_registry_is_left_alone(relay: Relay, tmp_path: Path) -> None:
    clock = Clock()
    shield = make(tmp_path, clock)
    assert pulled(shield, asked(relay, Kind.MANIFEST, "1")) == BUILT.raw
    relay.rule(faulty.error(429, "TOOMANYREQUESTS", headers={"Retry-After": "290"}))
    for _ in range(5):
        clock.now += 60  # more than a tag is known for
        assert pulled(shield, asked(relay, Kind.MANIFEST, "1")) == BUILT.raw
    assert [seen.method for seen in relay.requests] == ["GET", "HEAD"]


@pytest.mark.parametrize("kind", [Kind.BLOB, Kind.MANIFEST])
def test_what_is_not_there_is_asked_for_once_in_a_few_seconds(relay: Relay, tmp_path: Path, kind: Kind) -> None:
    clock = Clock()
    shield = make(tmp_path, clock)

    def ask(_: int = 0) -> None:
        with pytest.raises(NotFound):
            shield.fetch(asked(relay, kind, GONE))

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(ask, range(10)))
    ask()
    assert len(relay.requests) == 1
    clock.now += ABSENCE
    ask()
    assert len(relay.requests) == 2


def test_what_is_pushed_is_found_within_seconds(relay: Relay, upstream: Upstream, tmp_path: Path) -> None:
    clock, pushed = Clock(), image("pushed late")
    shield = make(tmp_path, clock)
    layer = next(iter(pushed.blobs))
    questions = [asked(relay, Kind.MANIFEST, "late"), asked(relay, Kind.MANIFEST, pushed.digest)]
    questions += [asked(relay, Kind.BLOB, layer), asked(relay, Kind.BLOB, layer, "HEAD")]
    for question in questions:
        with pytest.raises(RegistryError):
            shield.fetch(question)
    upstream.push(pushed, "team/app", "late")
    clock.now += ABSENCE
    for question in questions:
        shield.fetch(question).body.close()


@pytest.mark.parametrize("component", [shield, proxy])
def test_a_client_is_told_the_seconds_that_remain_and_no_fewer(
    relay: Relay, tmp_path: Path, component: Callable[..., Component]
) -> None:
    """By the shield, and by a proxy that has none to ask."""
    relay.rule(faulty.error(429, "TOOMANYREQUESTS", headers={"Retry-After": "100"}), times=None)
    asked = component(tmp_path / "component", "--plain-http", relay.host).start()
    path = f"/v2/{relay.host.replace(':', '__')}/team/app/manifests"
    try:
        replies = [asked.get(f"{path}/{tag}", {"Authorization": f"Bearer {TOKEN}"}) for tag in ("1", "2")]
    finally:
        asked.stop()
    assert [reply.status for reply in replies] == [429, 429]
    first, second = (int(reply.headers["Retry-After"]) for reply in replies)
    assert 100 == first >= second > 50
    assert len(relay.requests) == 1
