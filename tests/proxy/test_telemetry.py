"""What proxy and shield tell of themselves, after real pulls, equals what clients and upstream saw."""

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from telemetry.address import TelemetryAddress
from telemetry.probe import ask
from tests.rig import faulty, skopeo
from tests.rig.components import AUTHORIZED, ROOT, Component, proxy
from tests.rig.faulty import Relay
from tests.rig.images import image, multi_platform
from tests.rig.processes import free_port, wait_until
from tests.rig.upstream import Upstream


def settled(component: Component) -> None:
    """Wait until every answer is counted; that happens right after its last byte."""
    name = f"kuik_{'proxy' if component.module == 'proxy' else 'shield'}_requests_under_way"
    wait_until(lambda: component.numbers().total(name) == 0, "no request is under way")


@pytest.mark.needs("skopeo")
def test_requests_and_bytes_are_those_that_clients_and_upstream_saw(
    upstream: Upstream, a_shield: Component, a_proxy: Component, tmp_path: Path
) -> None:
    built = multi_platform("counted")
    reference = upstream.push(built, "team/app", "1")
    upstream.forget_requests()
    other = proxy(tmp_path / "other", "--shield", a_shield.url, "--plain-http", upstream.host).start()
    try:
        for turn, node in (("cold", a_proxy), ("warm", other)):
            assert skopeo.pull(node.image(reference), tmp_path / turn, "--all") == str(built.digest)
        for component in (a_proxy, other, a_shield):
            settled(component)
        numbers, behind = [a_proxy.numbers(), other.numbers()], a_shield.numbers()
    finally:
        other.stop()
    blobs = sum(len(blob) for blob in built.blobs.values())
    for front in numbers:
        assert front.total("kuik_proxy_served_bytes_total", kind="blobs") == blobs
        assert front.by("kuik_proxy_requests_total", "outcome", kind="blobs") == {"Served": len(built.blobs)}
        assert front.by("kuik_proxy_requests_total", "source", kind="blobs") == {"shield": len(built.blobs)}
        assert front.total("kuik_proxy_first_byte_seconds_count", kind="blobs") == len(built.blobs)
        assert front.total("kuik_proxy_damaged_total") == 0
    assert behind.total("kuik_shield_served_bytes_total", kind="blobs") == 2 * blobs
    assert behind.total("kuik_shield_served_bytes_total", kind="blobs", source="upstream") == blobs
    assert behind.total("kuik_shield_requests_total", kind="blobs", source="spool") == len(built.blobs)
    fetched = behind.total("kuik_shield_requests_total", method="GET", kind="manifests", source="upstream")
    assert fetched == len(built.manifests) == upstream.count("GET", "/manifests/")
    assert upstream.count("GET", "/blobs/") == len(built.blobs)


def test_refusals_and_dead_sources_are_counted_by_their_reason(upstream: Upstream, tmp_path: Path) -> None:
    built = image("counted-refusals")
    upstream.push(built, "team/app", "1")
    dead = f"http://127.0.0.1:{free_port()}"
    component = proxy(tmp_path, "--registry", dead, "--shield", dead, "--plain-http", upstream.host).start()
    try:
        path = f"/v2/{upstream.host.replace(':', '__')}/team/app/manifests"
        assert component.get(f"{path}/1").status == 200
        assert component.get(f"{path}/none").status == 404
        assert component.get("/v2/nothing").status == 404
        assert component.get(f"{path}/1", method="BREW").status in (400, 405)
        settled(component)
        numbers = component.numbers()
    finally:
        component.stop()
    assert numbers.by("kuik_proxy_requests_total", "outcome", kind="manifests") == {"Served": 1, "NotFound": 1}
    told = numbers.by("kuik_proxy_source_answers_total", "outcome", source="shield")
    assert told == {"Unreachable": 2, "NotAsked": 1}, "it is left alone, and asked at last when nobody has the image"
    assert numbers.total("kuik_proxy_requests_total", kind="none", source="none") >= 1
    assert numbers.total("kuik_proxy_served_bytes_total", source="upstream") == len(built.raw)


def test_a_component_is_ready_while_it_serves_and_says_who_it_is(a_shield: Component, a_proxy: Component) -> None:
    for component in (a_shield, a_proxy):
        for page in ("/healthz", "/readyz"):
            assert component.tells(page).status == 200
        assert b'"state": "serving"' in component.tells("/readyz").body
        assert component.tells("/elsewhere").status == 404
        assert component.get("/metrics", AUTHORIZED).status == 404


def test_the_probe_asks_a_socket_file_that_no_other_process_has(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/telemetry.sock"
    component = proxy(tmp_path, "--telemetry", address).start()
    command = [sys.executable, "-m", "telemetry.probe", address]
    try:
        wait_until(lambda: subprocess.run(command, cwd=ROOT, check=False).returncode == 0, "it is ready")
    finally:
        component.stop()
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert (done.returncode, address in done.stderr) == (1, True)


def test_a_draining_process_says_so_itself_and_ends_what_it_began(upstream: Upstream, tmp_path: Path) -> None:
    built = image("draining", layers=1, layer_size=200_000)
    upstream.push(built, "team/app", "1")
    digest, blob = max(built.blobs.items(), key=lambda one: len(one[1]))
    go_on = threading.Event()
    with Relay(upstream.host) as relay, ThreadPoolExecutor(1) as pool:
        relay.rule(faulty.hold(go_on, after=100_000), path=str(digest))
        component = proxy(tmp_path, "--plain-http", relay.host).start()
        path = f"/v2/{relay.host.replace(':', '__')}/team/app/blobs/{digest}"
        coming = pool.submit(component.get, path)
        wait_until(lambda: component.numbers().total("kuik_proxy_requests_under_way") == 1, "it is asked")
        assert component.process
        component.process.terminate()
        wait_until(lambda: component.tells("/readyz").status == 503, "it is not ready any more")
        assert b'"state": "draining"' in component.tells("/readyz").body
        assert component.tells("/healthz").status == 200
        go_on.set()
        assert coming.result().body == blob
        component.process.wait(20)
        assert "pulled" in component.log.read_text()


def test_it_answers_at_once_while_every_thread_that_serves_pulls_is_busy(upstream: Upstream, tmp_path: Path) -> None:
    built = image("busy", layers=1, layer_size=200_000)
    upstream.push(built, "team/app", "1")
    digest = max(built.blobs, key=lambda one: len(built.blobs[one]))
    go_on = threading.Event()
    with Relay(upstream.host) as relay, ThreadPoolExecutor(2) as pool:
        relay.rule(faulty.hold(go_on, after=100_000), path=str(digest))
        component = proxy(tmp_path, "--threads", "1", "--plain-http", relay.host).start()
        try:
            path = f"/v2/{relay.host.replace(':', '__')}/team/app/blobs/{digest}"
            first = pool.submit(component.get, path)
            wait_until(lambda: component.numbers().total("kuik_proxy_requests_under_way") == 1, "it is asked")
            second = pool.submit(component.get, "/v2/")
            assert [component.tells(page).status for page in ("/healthz", "/readyz", "/metrics")] == [200, 200, 200]
            assert not second.done()
            go_on.set()
            assert (first.result().status, second.result().status) == (200, 200)
        finally:
            go_on.set()
            component.stop()


def test_while_two_share_a_port_each_one_s_socket_file_is_its_own_and_the_port_goes_to_who_is_left(
    tmp_path: Path,
) -> None:
    old = proxy(tmp_path / "old", "--telemetry", f"unix:{tmp_path}/old.sock").start()
    new = proxy(tmp_path / "new", "--telemetry", f"unix:{tmp_path}/new.sock")
    new.port, new.telemetry_port = old.port, old.telemetry_port

    def who(address: str) -> int:
        status, body = ask(TelemetryAddress.parse(address), "/readyz")
        assert status == 200
        return int(json.loads(body)["pid"])

    try:
        wait_until(lambda: ready(f"unix:{tmp_path}/old.sock"), "the old one is ready")
        first = who(f"unix:{tmp_path}/old.sock")
        new.start()
        wait_until(lambda: ready(f"unix:{tmp_path}/new.sock"), "the new one is ready by itself")
        second = who(f"unix:{tmp_path}/new.sock")
        port = f"127.0.0.1:{old.telemetry_port}"
        assert second != first
        assert who(port) == first
        old.stop()
        wait_until(lambda: ready(port) and who(port) == second, "the port is the new one's")
    finally:
        old.stop()
        new.stop()


def ready(address: str) -> bool:
    with suppress(OSError):
        return ask(TelemetryAddress.parse(address), "/readyz")[0] == 200
    return False
