"""Real pulls: skopeo, through a proxy and a shield that are processes of their own, from a real registry."""

import hashlib
import http.client
import re
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.rig import faulty, skopeo
from tests.rig.components import AUTHORIZED, TOKEN, Component, proxy, shield
from tests.rig.faulty import Relay
from tests.rig.images import BuiltImage, image, multi_platform
from tests.rig.processes import free_port, wait_until
from tests.rig.upstream import Upstream

MIB = 1 << 20


def largest(built: BuiltImage) -> tuple[str, bytes]:
    digest, blob = max(built.blobs.items(), key=lambda item: len(item[1]))
    return str(digest), blob


HALVED = image("halved", layers=1, layer_size=200_000)


def path_of(upstream: Upstream, rest: str) -> str:
    return f"/v2/{upstream.host.replace(':', '__')}/{rest}"


@pytest.mark.needs("skopeo")
@pytest.mark.parametrize("docker", [False, True])
def test_by_tag_and_by_digest_for_one_platform_and_for_many_also_when_upstream_is_down(
    upstream: Upstream, a_proxy: Component, tmp_path: Path, docker: bool
) -> None:
    single, multi = image("single", docker=docker), multi_platform("multi", docker=docker)
    by_tag = a_proxy.image(upstream.push(single, "team/app", "1"))
    by_digest = a_proxy.image(upstream.push(multi, "team/manifests/blobs"))
    for upstream_is in ("up", "down"):
        assert skopeo.pull(by_tag, tmp_path / f"tag-{upstream_is}") == str(single.digest)
        assert skopeo.pull(by_digest, tmp_path / f"digest-{upstream_is}", "--all") == str(multi.digest)
        upstream.stop()


@pytest.mark.needs("skopeo")
def test_without_a_shield_upstream_is_the_last_resort_and_refusals_are_told(
    upstream: Upstream, private_upstream: Upstream, tmp_path: Path
) -> None:
    built = image("direct")
    public, private = upstream.push(built, "team/app", "1"), private_upstream.push(built, "team/app", "1")
    plain = [word for host in (upstream.host, private_upstream.host) for word in ("--plain-http", host)]
    dead = f"http://127.0.0.1:{free_port()}"
    a_proxy = proxy(tmp_path / "proxy", "--registry", dead, "--shield", dead, *plain).start()
    try:
        assert skopeo.pull(a_proxy.image(public), tmp_path / "out") == str(built.digest)
        refused = skopeo.run("inspect", "--tls-verify=false", f"docker://{a_proxy.image(private)}", check=False)
        assert re.search("unauthorized|authentication required", refused.stderr, re.IGNORECASE)
        upstream.stop()
        gone = a_proxy.get(path_of(upstream, "team/app/manifests/2"))
        assert (gone.status, b"UNKNOWN" in gone.body) == (503, True)
    finally:
        a_proxy.stop()


@pytest.mark.needs("skopeo")
def test_pushes_are_refused_and_the_mirror_form_is_served(
    upstream: Upstream, a_proxy: Component, tmp_path: Path
) -> None:
    built = image("mirrored")
    reference = upstream.push(built, "team/app", "1")
    skopeo.pull(reference, tmp_path / "pulled")
    pushed = skopeo.run(
        "copy",
        "--dest-tls-verify=false",
        f"dir:{tmp_path / 'pulled'}",
        f"docker://{a_proxy.image(reference)}",
        check=False,
    )
    assert pushed.returncode != 0
    assert a_proxy.get(path_of(upstream, "team/app/blobs/uploads/"), method="POST").status == 405
    mirrored = a_proxy.get(f"/v2/team/app/manifests/1?ns={upstream.host}")
    assert (mirrored.status, mirrored.body) == (200, built.raw)
    digest, blob = largest(built)
    part = a_proxy.get(f"/v2/team/app/blobs/{digest}?ns={upstream.host}", {"Range": "bytes=10-19"})
    assert (part.status, part.body) == (206, blob[10:20])


def pss(component: Component) -> float:
    """MiB of a component's processes, each with its share of what they share."""
    assert component.process
    children = subprocess.run(["pgrep", "-P", str(component.process.pid)], capture_output=True, text=True, check=True)
    rollups = [
        Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in (component.process.pid, *children.stdout.split())
    ]
    return sum(int(size) for rollup in rollups for size in re.findall(r"^Pss:\s+(\d+)", rollup, re.MULTILINE)) / 1024


def test_twenty_clients_of_a_cold_blob_cost_one_get_and_little_memory(
    upstream: Upstream, a_shield: Component, a_proxy: Component
) -> None:
    built = image("herd", layers=1, layer_size=64 * MIB)
    upstream.push(built, "team/app", "1")
    digest, blob = largest(built)
    path = path_of(upstream, f"team/app/blobs/{digest}")

    def pull(_: int) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", a_proxy.port, timeout=60)
        connection.request("GET", path)
        response, hasher, size = connection.getresponse(), hashlib.sha256(), 0
        while piece := response.read(MIB):
            hasher.update(piece)
            size += len(piece)
        connection.close()
        return size, f"sha256:{hasher.hexdigest()}"

    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(pull, range(20))) == {(len(blob), digest)}
    assert upstream.count("GET", f"/blobs/{digest}") == 1
    assert pss(a_shield) + pss(a_proxy) < 150


@pytest.fixture
def halfway(upstream: Upstream, tmp_path: Path) -> Iterator[tuple[Relay, Component, threading.Event]]:
    """A shield whose upstream sends the first half of a blob, and the rest when it is told to; further ones whole."""
    upstream.push(HALVED, "team/app", "1")
    go_on = threading.Event()
    with Relay(upstream.host) as relay:
        relay.rule(faulty.hold(go_on, after=100_000), method="GET", path="/blobs/")
        component = shield(tmp_path / "shield", "--plain-http", relay.host).start()
        yield relay, component, go_on
        component.stop()
        go_on.set()


def ranges(relay: Relay) -> list[str | None]:
    return [seen.headers.get("Range") for seen in relay.requests if seen.method == "GET" and "/blobs/" in seen.path]


def begin(component: Component, path: str) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", component.port, timeout=30)
    connection.request("GET", path, headers=AUTHORIZED)
    return connection, connection.getresponse()


def test_a_shield_killed_in_the_middle_leaves_nothing_wrong_and_goes_on_there(
    halfway: tuple[Relay, Component, threading.Event], tmp_path: Path
) -> None:
    relay, component, go_on = halfway
    digest, blob = largest(HALVED)
    path = f"/v2/{relay.host.replace(':', '__')}/team/app/blobs/{digest}"
    connection, response = begin(component, path)
    beginning = response.read(100_000)
    component.kill()
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        response.read()
    connection.close()
    go_on.set()
    assert beginning == blob[:100_000]
    kept = tmp_path / "shield" / "spool" / "blobs" / "sha256" / digest.removeprefix("sha256:")
    assert not kept.exists()
    component.start()
    assert component.get(path, AUTHORIZED).body == blob
    assert kept.read_bytes() == blob
    assert ranges(relay) == [None, "bytes=100000-"]


def test_a_shield_killed_in_the_middle_of_a_pull_does_not_break_it(
    halfway: tuple[Relay, Component, threading.Event], tmp_path: Path
) -> None:
    relay, component, go_on = halfway
    digest, blob = largest(HALVED)
    a_proxy = proxy(tmp_path / "proxy", "--shield", component.url, "--plain-http", relay.host).start()
    try:
        connection, response = begin(a_proxy, f"/v2/team/app/blobs/{digest}?ns={relay.host}")
        beginning = response.read(100_000)
        component.kill()
        assert beginning + response.read() == blob
        connection.close()
    finally:
        a_proxy.stop()
        go_on.set()
    assert "bytes=100000-" in ranges(relay)


def test_the_log_tells_a_pull_in_one_line_and_never_the_token(
    upstream: Upstream, a_shield: Component, a_proxy: Component, tmp_path: Path
) -> None:
    built = image("logged")
    reference = upstream.push(built, "team/app", "1")
    skopeo.pull(a_proxy.image(reference), tmp_path / "out")
    a_proxy.get(path_of(upstream, "team/app/manifests/none"))
    a_proxy.get(path_of(upstream, "team/app/manifests/none"))
    wait_until(lambda: "pulled" in a_shield.log.read_text(), "the shield's line")
    wait_until(lambda: "pulled" in a_proxy.log.read_text(), "the proxy's line")
    (line,) = [line for line in a_proxy.log.read_text().splitlines() if "pulled" in line]
    (refused,) = [line for line in a_proxy.log.read_text().splitlines() if " WARNING " in line]
    assert f"pulled {reference}: {len(built.blobs)} blobs, " in line
    assert "from shield" in line
    assert "team/app:none: 404" in refused
    assert TOKEN not in a_shield.log.read_text() + a_proxy.log.read_text()
