"""Registries' settings at work: an own CA, plain HTTP, mirrors and egress proxies, all before real servers."""

import base64
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from proxy.__main__ import main as start_proxy
from proxy.path import Kind, Route
from proxy.shield.asking import Asking
from proxy.shield.origin import Shield
from proxy.shield.settings import Settings, read_settings
from proxy.shield.spool import Spool
from proxy.sources.message import Request
from registry.blobs import BlobFolder
from registry.client import Client
from registry.credentials import Credentials
from registry.errors import NotFound, RegistryError, TLSFailure, Unreachable
from registry.hosts import HostSettings
from registry.reference import Reference
from tests.rig import faulty
from tests.rig.components import proxy
from tests.rig.egress import EgressProxy
from tests.rig.faulty import Relay, certificate
from tests.rig.images import BuiltImage, image
from tests.rig.processes import free_port
from tests.rig.reader import everything_plain
from tests.rig.upstream import Upstream

BUILT: BuiltImage = image("settings", layers=1, layer_size=300_000)
DIGEST, BLOB = max(BUILT.blobs.items(), key=lambda item: len(item[1]))
BLOBS = "/blobs/"


@pytest.fixture
def relay(upstream: Upstream) -> Iterator[Relay]:
    upstream.push(BUILT, "team/app", "1")
    with Relay(upstream.host) as between:
        yield between


@pytest.fixture
def mirror(upstream: Upstream) -> Iterator[Relay]:
    """A registry that has the same image below a prefix."""
    upstream.push(BUILT, "hub/team/app", "1")
    with Relay(upstream.host) as between:
        yield between


class World:
    """A shield whose settings change at any time."""

    def __init__(
        self,
        folder: Path,
        base: Callable[[str], HostSettings] = everything_plain,
        keyring: Callable[[Reference, Reference], tuple[Credentials, ...]] = lambda _image, _place: (),
        credentials: tuple[Credentials, ...] = (),
    ) -> None:
        self.settings = Settings()
        asking = Asking(lambda: self.settings, base)
        client = Client(asking.transport(), lambda _reference: credentials)
        self.shield = Shield(
            client,
            Spool(BlobFolder(folder / "spool"), 1 << 30),
            replace(asking.rules(), mirrors=asking.mirrors(keyring)),
        )

    def set(self, *registries: dict[str, Any]) -> None:
        self.settings = read_settings({"spec": {"freshness": "0s", "registries": list(registries)}})

    def pull(self, host: str, kind: Kind = Kind.MANIFEST, target: object = "1") -> bytes:
        with closing(self.shield.fetch(Request(Route(host, "team/app", kind, str(target)))).body) as body:
            return b"".join(body)

    def whole(self, host: str) -> bool:
        return self.pull(host) == BUILT.raw and self.pull(host, Kind.BLOB, DIGEST) == BLOB


def asked_mirror(relay: Relay, *others: Relay, seconds: int = 2) -> dict[str, Any]:
    mirrors = [{"host": one.host, "prefix": "hub", "timeoutSeconds": seconds} for one in others]
    return {"host": relay.host, "mirrors": mirrors, "plainHTTP": True}


# TLS and plain HTTP


@pytest.mark.needs("openssl")
def test_an_own_ca_is_for_its_host_and_counts_without_a_restart(upstream: Upstream, tmp_path: Path) -> None:
    upstream.push(BUILT, "team/app", "1")
    pem = certificate(tmp_path / "tls")
    world = World(tmp_path, lambda _host: HostSettings())
    with Relay(upstream.host, tls=pem) as secure:
        with pytest.raises(TLSFailure, match="configure the CA"):
            world.pull(secure.host)
        world.set({"host": secure.host, "ca": pem[0].read_text()})
        assert world.whole(secure.host)
        other = certificate(tmp_path / "other")
        world.set({"host": secure.host, "ca": other[0].read_text()})
        with pytest.raises(TLSFailure, match="the CA that is set for it"):
            world.pull(secure.host, Kind.TAGS, "")


def test_plain_http_is_for_its_host_only(relay: Relay, mirror: Relay, tmp_path: Path) -> None:
    world = World(tmp_path, lambda _host: HostSettings())
    world.set({"host": relay.host, "plainHTTP": True})
    assert world.whole(relay.host)
    with pytest.raises(RegistryError):
        world.pull(mirror.host)
    assert mirror.requests == []


# mirrors


def test_a_mirror_is_asked_and_the_registry_is_not(relay: Relay, mirror: Relay, tmp_path: Path) -> None:
    world = World(tmp_path)
    world.set(asked_mirror(relay, mirror))
    assert world.whole(relay.host)
    assert relay.requests == []
    assert all("/v2/hub/team/app/" in seen.path for seen in mirror.requests)


def test_a_mirror_serves_while_its_registry_is_down(relay: Relay, mirror: Relay, tmp_path: Path) -> None:
    world = World(tmp_path)
    dead = f"127.0.0.1:{free_port()}"
    with pytest.raises(Unreachable):
        world.pull(dead)
    world.set({**asked_mirror(relay, mirror), "host": dead})
    assert world.whole(dead)


@pytest.mark.parametrize(
    "fault",
    [
        faulty.error(404, "MANIFEST_UNKNOWN"),
        faulty.error(401, "UNAUTHORIZED"),
        faulty.error(429, "TOOMANYREQUESTS", headers={"Retry-After": "60"}),
        faulty.error(503, "UNAVAILABLE"),
        faulty.answer(200, b"<html>a portal</html>", {"Content-Type": "text/html"}),
        faulty.corrupt(5),
        faulty.cut(100),
        faulty.redirect("http://127.0.0.1:1/gone"),
    ],
    ids=["404", "401", "429", "503", "portal", "corrupt", "cut", "redirect"],
)
def test_whatever_a_mirror_does_the_registry_is_asked_next(
    relay: Relay, mirror: Relay, tmp_path: Path, fault: faulty.Fault
) -> None:
    world = World(tmp_path)
    world.set(asked_mirror(relay, mirror))
    mirror.rule(fault, path="/manifests/", times=None).rule(fault, path=BLOBS, times=None)
    assert world.pull(relay.host) == BUILT.raw
    try:
        assert world.pull(relay.host, Kind.BLOB, DIGEST) == BLOB
    except RegistryError:  # wrong bytes are seen at their end, and never given whole; the next try has the right ones
        assert fault.__qualname__.startswith(("answer", "_changed"))


def test_mirrors_are_asked_in_their_order(relay: Relay, mirror: Relay, upstream: Upstream, tmp_path: Path) -> None:
    world = World(tmp_path)
    with Relay(upstream.host) as first:
        first.rule(faulty.error(404, "MANIFEST_UNKNOWN"), times=None)
        world.set(asked_mirror(relay, first, mirror))
        assert world.whole(relay.host)
        assert (len(first.requests), len(mirror.requests), len(relay.requests)) == (2, 2, 0)


def test_a_silent_mirror_costs_one_short_time_out_and_not_one_per_request(
    relay: Relay, mirror: Relay, tmp_path: Path
) -> None:
    world = World(tmp_path)
    world.set(asked_mirror(relay, mirror, seconds=1))
    mirror.rule(faulty.black_hole(mirror), times=None)
    begun = time.monotonic()
    for _ in range(5):
        assert world.pull(relay.host) == BUILT.raw
    assert world.pull(relay.host, Kind.BLOB, DIGEST) == BLOB
    assert len(mirror.requests) == 1
    assert time.monotonic() - begun < 20  # far from one for each request with the time-outs of a registry


@pytest.mark.parametrize("fault", [faulty.cut(100_000), faulty.cut(100_000, reset=True)])
def test_a_mirror_that_breaks_in_the_middle_is_continued_by_the_registry(
    relay: Relay, mirror: Relay, tmp_path: Path, fault: faulty.Fault
) -> None:
    world = World(tmp_path)
    world.set(asked_mirror(relay, mirror))
    mirror.rule(fault, path=BLOBS)
    assert world.pull(relay.host, Kind.BLOB, DIGEST) == BLOB
    ((seen,), (rest,)) = mirror.requests, relay.requests
    assert seen.headers.get("Range") is None
    assert rest.headers["Range"].startswith("bytes=")


def test_nobody_has_it(relay: Relay, mirror: Relay, tmp_path: Path) -> None:
    world = World(tmp_path)
    world.set(asked_mirror(relay, mirror))
    with pytest.raises(NotFound, match=relay.host):
        world.pull(relay.host, target="none")


def test_credentials_of_a_registry_never_go_to_its_mirror(
    private_upstream: Upstream, mirror: Relay, tmp_path: Path
) -> None:
    private_upstream.push(BUILT, "team/app", "1")
    alice = Credentials(private_upstream.user, private_upstream.password)
    world = World(tmp_path, credentials=(alice,))
    with Relay(private_upstream.host) as registry:
        world.set(asked_mirror(registry, mirror))
        challenge = {"WWW-Authenticate": 'Basic realm="mirror"'}
        mirror.rule(faulty.error(401, "UNAUTHORIZED", headers=challenge), times=None)
        assert world.whole(registry.host)
        assert any("Authorization" in seen.headers for seen in registry.requests)
        assert mirror.requests
        assert not any("Authorization" in seen.headers for seen in mirror.requests)


def test_a_mirror_gets_the_credentials_that_are_for_it(
    private_upstream: Upstream, relay: Relay, tmp_path: Path
) -> None:
    private_upstream.push(BUILT, "hub/team/app", "1")
    found: list[tuple[str, str]] = []

    def keyring(image: Reference, place: Reference) -> tuple[Credentials, ...]:
        found.append((image.name, place.name))
        return (Credentials(private_upstream.user, private_upstream.password),)

    with Relay(private_upstream.host) as between:
        world = World(tmp_path, keyring=keyring)
        world.set(asked_mirror(relay, between))
        assert world.whole(relay.host)
        assert relay.requests == []
        shown = base64.b64encode(f"{private_upstream.user}:{private_upstream.password}".encode()).decode()
        assert {seen.headers.get("Authorization") for seen in between.requests} == {None, f"Basic {shown}"}
        assert found[0] == (f"{relay.host}/team/app", f"{between.host}/hub/team/app")


# egress


@pytest.mark.needs("openssl")
def test_tls_goes_through_the_egress_proxy_by_connect(upstream: Upstream, tmp_path: Path) -> None:
    upstream.push(BUILT, "team/app", "1")
    pem = certificate(tmp_path / "tls")
    with EgressProxy() as egress, Relay(upstream.host, tls=pem) as secure:
        world = World(tmp_path, lambda _host: HostSettings())
        entry = {"host": secure.host, "ca": pem[0].read_text(), "egressProxy": {"url": egress.url}}
        world.set(entry)
        assert world.whole(secure.host)
        assert set(egress.asked) == {f"CONNECT {secure.host}"}
        egress.asked.clear()
        world.set({**entry, "egressProxy": {"url": egress.url, "noProxy": ["127.0.0.0/8"]}})
        assert world.pull(secure.host, Kind.TAGS, "")
        assert egress.asked == []


def test_the_hosts_that_a_registry_leads_to_are_reached_through_its_proxy(relay: Relay, tmp_path: Path) -> None:
    with EgressProxy() as egress, Relay(relay.upstream) as storage, Relay() as tokens:
        challenge = {"WWW-Authenticate": f'Bearer realm="{tokens.url}/token",service="rig"'}
        tokens.rule(faulty.answer(200, json.dumps({"token": "t"}).encode()), times=None)
        relay.rule(faulty.error(401, "UNAUTHORIZED", headers=challenge))
        relay.rule(faulty.redirect(f"{storage.url}{{path}}?X-Signature=s"), path=BLOBS)
        world = World(tmp_path)
        world.set({"host": relay.host, "plainHTTP": True, "egressProxy": {"url": egress.url}})
        assert world.whole(relay.host)
        reached = {line.split("/")[2] for line in egress.asked}
        assert reached == {relay.host, storage.host, tokens.host.removeprefix("http://")}


def test_a_proxy_that_is_down_is_named(relay: Relay, tmp_path: Path) -> None:
    world = World(tmp_path)
    down = f"http://127.0.0.1:{free_port()}"
    world.set({"host": relay.host, "plainHTTP": True, "egressProxy": {"url": down}})
    with pytest.raises(Unreachable, match=rf"{relay.host} \(through the proxy {down}\).*connection refused"):
        world.pull(relay.host)
    assert relay.requests == []


# the node proxy, when it asks directly


@pytest.mark.needs("openssl")
def test_a_proxy_without_a_shield_knows_the_ca_and_the_egress_proxy(upstream: Upstream, tmp_path: Path) -> None:
    upstream.push(BUILT, "team/app", "1")
    pem = certificate(tmp_path / "tls")
    with EgressProxy() as egress, Relay(upstream.host, tls=pem) as secure:
        entry = {"host": secure.host, "ca": pem[0].read_text(), "egressProxy": {"url": egress.url}}
        settings = tmp_path / "registries.json"
        settings.write_text(json.dumps([entry]))
        node = proxy(tmp_path / "proxy", "--registries", str(settings)).start()
        try:
            reply = node.get(f"/v2/{secure.host.replace(':', '__')}/team/app/manifests/1")
        finally:
            node.stop()
        assert (reply.status, reply.body) == (200, BUILT.raw)
        assert set(egress.asked) == {f"CONNECT {secure.host}"}


@pytest.mark.parametrize("written", ["{}", "[{}]", "nothing"])
def test_a_proxy_refuses_settings_that_make_no_sense(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], written: str
) -> None:
    settings = tmp_path / "registries.json"
    settings.write_text(written)
    with pytest.raises(SystemExit):
        start_proxy(["--registries", str(settings), "--telemetry", "none"])
    assert "error:" in capsys.readouterr().err
