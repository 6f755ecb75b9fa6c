"""What the shield counts of upstream, spool and damage, beside what a relay in front of upstream saw."""

import http.client
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from tests.rig import faulty
from tests.rig.components import AUTHORIZED, Component, proxy, shield
from tests.rig.faulty import Relay
from tests.rig.images import BuiltImage, image
from tests.rig.processes import free_port, wait_until
from tests.rig.upstream import Upstream

BUILT = image("numbers", layers=2, layer_size=100_000)
LARGE = image("numbers-large", layers=1, layer_size=300_000)


def blobs(built: BuiltImage) -> list[tuple[str, bytes]]:
    return [(str(digest), blob) for digest, blob in built.blobs.items()]


@pytest.fixture
def relayed(upstream: Upstream, tmp_path: Path) -> Iterator[tuple[Relay, Component]]:
    upstream.push(BUILT, "team/app", "1")
    upstream.push(LARGE, "team/large", "1")
    with Relay(upstream.host) as relay:
        options = ("--plain-http", relay.host, "--freshness", "0", "--spool-size", "400000")
        component = shield(tmp_path / "shield", *options).start()
        yield relay, component
        component.stop()


def path(relay: Relay, rest: str) -> str:
    return f"/v2/{relay.host.replace(':', '__')}/{rest}"


def test_upstream_requests_and_bytes_are_those_that_upstream_saw(relayed: tuple[Relay, Component]) -> None:
    relay, component = relayed
    for _ in range(3):
        assert component.get(path(relay, "team/app/manifests/1"), AUTHORIZED).status == 200
        for digest, blob in blobs(BUILT):
            assert component.get(path(relay, f"team/app/blobs/{digest}"), AUTHORIZED).body == blob
    assert component.get(path(relay, "team/none/manifests/1"), AUTHORIZED).status == 404
    wait_until(lambda: component.numbers().total("kuik_shield_requests_under_way") == 0, "all is counted")
    numbers, name = component.numbers(), "kuik_shield_upstream_requests_total"
    assert numbers.total(name, registry=relay.host, kind="blobs", status="2xx") == relay.count("GET", "/blobs/")
    assert numbers.total(name, kind="blobs") == len(BUILT.blobs)
    assert numbers.total(name, kind="manifests") == relay.count("", "/manifests/")
    assert numbers.by(name, "status", kind="manifests") == {"2xx": 3, "4xx": 1}
    fetched = len(BUILT.raw) + sum(len(blob) for _, blob in blobs(BUILT))
    served = 3 * fetched
    received = numbers.total("kuik_shield_upstream_received_bytes_total", registry=relay.host)
    assert fetched <= received < fetched + 1000, "the body of the 404 came too"
    assert numbers.total("kuik_shield_saved_bytes") == served - received
    assert numbers.total("kuik_shield_spool_entries") == 1 + len(BUILT.blobs)
    assert numbers.total("kuik_shield_spool_used_bytes") == fetched
    assert numbers.total("kuik_shield_spool_capacity_bytes") == 400_000


def test_a_herd_costs_one_fetch_and_its_others_are_counted(relayed: tuple[Relay, Component]) -> None:
    relay, component = relayed
    digest, blob = max(blobs(BUILT), key=lambda one: len(one[1]))
    go_on = threading.Event()
    relay.rule(faulty.hold(go_on, after=50_000), path=digest)
    wanted = path(relay, f"team/app/blobs/{digest}")
    with ThreadPoolExecutor(8) as pool:
        coming = [pool.submit(component.get, wanted, AUTHORIZED) for _ in range(8)]
        joined = "kuik_shield_joined_requests_total"
        wait_until(lambda: component.numbers().total(joined, kind="blobs") == 7, "seven joined the first")
        numbers = component.numbers()
        go_on.set()
        assert {one.result().body for one in coming} == {blob}
    assert numbers.total("kuik_shield_fetches_under_way") == 1
    assert numbers.total("kuik_shield_requests_under_way") == 8
    wait_until(lambda: component.numbers().total("kuik_shield_requests_under_way") == 0, "all is counted")
    assert component.numbers().total("kuik_shield_requests_total", source="collapsed") == 7


def test_breaks_damage_and_evictions_are_counted(relayed: tuple[Relay, Component]) -> None:
    relay, component = relayed
    digest, blob = max(blobs(BUILT), key=lambda one: len(one[1]))
    relay.rule(faulty.cut(after=50_000), path=digest)
    assert component.get(path(relay, f"team/app/blobs/{digest}"), AUTHORIZED).body == blob
    assert component.numbers().total("kuik_shield_upstream_resumed_total") == 1
    large, content = max(blobs(LARGE), key=lambda one: len(one[1]))
    relay.rule(faulty.corrupt(), path=large)
    with suppress(http.client.IncompleteRead):  # where it was sent before the damage was seen
        assert component.get(path(relay, f"team/large/blobs/{large}"), AUTHORIZED).status == 502
    assert component.numbers().total("kuik_shield_damaged_total", where="upstream") == 1
    for other, _ in blobs(BUILT):
        component.get(path(relay, f"team/app/blobs/{other}"), AUTHORIZED)
    before = component.numbers()
    assert component.get(path(relay, f"team/large/blobs/{large}"), AUTHORIZED).body == content
    wait_until(lambda: component.numbers().total("kuik_shield_fetches_under_way") == 0, "the fetch ended")
    after = component.numbers()
    entries, evictions = "kuik_shield_spool_entries", "kuik_shield_spool_evictions_total"
    evicted = after.total(evictions) - before.total(evictions)
    assert evicted > 0
    assert after.total(entries) == before.total(entries) + 1 - evicted
    assert after.total("kuik_shield_spool_evicted_bytes_total") > before.total("kuik_shield_spool_evicted_bytes_total")


def test_rate_limits_stale_tags_and_open_breakers_are_told(
    relayed: tuple[Relay, Component], upstream: Upstream
) -> None:
    relay, component = relayed
    told = faulty.change_headers(ratelimit_limit="100;w=21600", ratelimit_remaining="76;w=21600")
    relay.rule(told, path="/manifests/")
    tag = path(relay, "team/app/manifests/1")
    assert component.get(tag, AUTHORIZED).status == 200
    numbers = component.numbers()
    assert numbers.by("kuik_shield_upstream_rate_limit_remaining", "registry") == {relay.host: 76}
    assert numbers.by("kuik_shield_upstream_rate_limit", "registry") == {relay.host: 100}
    assert json.loads(component.tells("/readyz").body)["degraded"] is False
    relay.close()
    assert component.get(tag, AUTHORIZED).status == 200
    numbers = component.numbers()
    assert numbers.total("kuik_shield_stale_tags_total") == 1
    assert numbers.by("kuik_shield_upstream_requests_total", "status")["none"] >= 1
    assert numbers.by("kuik_shield_breakers_open", "source") == {relay.host: 1}
    page = component.tells("/readyz")
    said = json.loads(page.body)
    assert (page.status, said["ready"], said["degraded"]) == (200, True, True)
    assert said["sources"]["sources"][relay.host]["state"] == "left alone"
    assert said["sources"]["sources"][relay.host]["why"]


def test_a_registry_that_gave_nothing_has_no_name_of_its_own(tmp_path: Path) -> None:
    component = proxy(tmp_path, "--plain-http", "127.0.0.1:1").start()
    try:
        for port in (free_port(), free_port()):
            assert component.get(f"/v2/127.0.0.1__{port}/team/app/manifests/1").status in (502, 503)
        numbers = component.numbers()
    finally:
        component.stop()
    assert set(numbers.by("kuik_proxy_upstream_requests_total", "registry")) == {"other"}
    assert numbers.by("kuik_proxy_breakers_open", "source") == {"other": 2}


def test_a_proxy_with_nothing_but_dead_sources_stays_ready_and_says_so(tmp_path: Path) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    component = proxy(tmp_path, "--registry", dead, "--shield", dead).start()
    try:
        before = json.loads(component.tells("/readyz").body)
        component.get("/v2/127.0.0.1__1/team/app/manifests/1")
        page = component.tells("/readyz")
        said = json.loads(page.body)
        numbers = component.numbers()
    finally:
        component.stop()
    name = dead.removeprefix("http://")
    assert before["sources"]["sources"] == {f"{kind} at {name}": "asked when needed" for kind in ("registry", "shield")}
    assert (page.status, said["degraded"]) == (200, True)
    assert said["sources"]["sources"][f"registry at {name}"]["state"] == "left alone"
    assert numbers.total("kuik_proxy_breakers_open", source=f"shield at {name}") == 1
