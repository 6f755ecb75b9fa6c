"""Two replicas of the shield, each with a spool of its own: all callers choose alike, so upstream is asked once."""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hooks.facts import Known
from hooks.shield import Shield as FactsClient
from kuik.through_shield import ThroughShield
from registry.client import Client
from registry.credentials import Credentials
from registry.digest import Digest
from registry.reference import Reference
from registry.rendezvous import blob_key, manifest_key, ordered
from tests.rig import faulty
from tests.rig.components import TOKEN, Component, proxy, shield
from tests.rig.faulty import Relay
from tests.rig.images import BuiltImage, image
from tests.rig.processes import wait_until
from tests.rig.reader import transport, whole
from tests.rig.upstream import Upstream

BUILT: BuiltImage = image("replicated", layers=6, layer_size=200_000)
LAYERS = [digest for digest, blob in BUILT.blobs.items() if len(blob) > 100_000]
BLOBS = "/blobs/"


@pytest.fixture
def relay(upstream: Upstream) -> Iterator[Relay]:
    upstream.push(BUILT, "team/app", "1")
    with Relay(upstream.host) as between:
        yield between


@pytest.fixture
def shields(tmp_path: Path, relay: Relay) -> Iterator[dict[str, Component]]:
    """By `host:port`."""
    started = [shield(tmp_path / name, "--plain-http", relay.host).start() for name in ("one", "two")]
    yield {component.host: component for component in started}
    for component in started:
        component.stop()


def source(shields: dict[str, Component]) -> ThroughShield:
    """What a copy Job reads through."""
    client = Client(transport(), lambda _reference: [Credentials(registry_token=TOKEN)])
    return ThroughShield(client, tuple(shields))


def pulled(component: Component, relay: Relay) -> dict[str, bytes]:
    """One whole image, by tag and then by digest, as container runtimes pull."""
    base = f"/v2/{relay.host.replace(':', '__')}/team/app"
    component.get(f"{base}/manifests/1", method="HEAD")
    found = {"1": component.get(f"{base}/manifests/1").body, "manifest": b""}
    found["manifest"] = component.get(f"{base}/manifests/{BUILT.digest}").body
    return found | {str(digest): component.get(f"{base}/blobs/{digest}").body for digest in BUILT.blobs}


def copied(shields: dict[str, Component], relay: Relay) -> dict[str, bytes]:
    """The same image, as a copy reads it."""
    reference, copying = Reference.parse(f"{relay.host}/team/app:1"), source(shields)
    found = {"1": copying.manifest(reference).raw, "manifest": b""}
    found["manifest"] = copying.manifest(reference.with_digest(BUILT.digest)).raw
    return found | {str(digest): whole(copying.open_blob(reference, digest)) for digest in BUILT.blobs}


def test_twenty_clients_cost_one_fetch_of_each_digest(
    relay: Relay, shields: dict[str, Component], tmp_path: Path
) -> None:
    """Two nodes' proxies among them. A node pulls once: what it asks for again at once it takes for damaged."""
    words = [word for component in shields.values() for word in ("--shield", component.url)]
    proxies = [proxy(tmp_path / name, *words).start() for name in ("node-a", "node-b")]
    try:
        with ThreadPoolExecutor(20) as pool:
            pulls = [pool.submit(pulled, node, relay) for node in proxies]
            pulls += [pool.submit(copied, shields, relay) for _ in range(18)]
            wanted = {"1": BUILT.raw, "manifest": BUILT.raw} | {str(name): blob for name, blob in BUILT.blobs.items()}
            assert [pull.result(60) == wanted for pull in pulls] == [True] * 20
    finally:
        for component in proxies:
            component.stop()
    gets = Counter(seen.path for seen in relay.requests if seen.method == "GET" and seen.path != "/v2/")
    assert set(gets.values()) == {1}, gets
    assert len(gets) == 1 + len(BUILT.blobs)
    assert {ordered(shields, blob_key(digest))[0] for digest in BUILT.blobs} == set(shields)


def test_a_copy_asks_the_replica_that_the_proxies_ask(relay: Relay, shields: dict[str, Component]) -> None:
    reference = Reference.parse(f"{relay.host}/team/app:1")
    first = shields[ordered(shields, manifest_key(reference))[0]]
    base = f"/v2/{relay.host.replace(':', '__')}/team/app"
    shown = {"Authorization": f"Bearer {TOKEN}"}
    assert first.get(f"{base}/manifests/1", shown).body == BUILT.raw
    for digest in LAYERS:
        shields[ordered(shields, blob_key(digest))[0]].get(f"{base}/blobs/{digest}", shown)
    asked = len(relay.requests)
    copying = source(shields)
    assert copying.manifest(reference).raw == BUILT.raw
    assert [whole(copying.open_blob(reference, digest)) for digest in LAYERS] == [BUILT.blobs[d] for d in LAYERS]
    assert len(relay.requests) == asked


def test_a_copy_goes_on_at_the_other_replica_when_one_dies(relay: Relay, shields: dict[str, Component]) -> None:
    """Between requests, and in the middle of a blob."""
    reference = Reference.parse(f"{relay.host}/team/app:1")
    copying = source(shields)
    digest = next(digest for digest in LAYERS if ordered(shields, blob_key(digest))[0] == next(iter(shields)))
    dying = shields[next(iter(shields))]
    held = threading.Event()
    relay.rule(faulty.hold(held, after=100_000), path=str(digest))
    pieces = iter(copying.open_blob(reference, digest))
    beginning = next(pieces)
    dying.kill()
    held.set()
    assert beginning + whole(pieces) == BUILT.blobs[digest]
    assert copying.manifest(reference).raw == BUILT.raw
    assert [whole(copying.open_blob(reference, one)) for one in LAYERS] == [BUILT.blobs[one] for one in LAYERS]


def test_facts_come_from_the_replica_that_knows_and_from_the_other_when_it_is_gone(
    relay: Relay, shields: dict[str, Component]
) -> None:
    client = FactsClient(" ".join(one.url for one in shields.values()), TOKEN, timeout=4)
    name = f"{relay.host}/team/app:1"

    def known() -> bool:
        return isinstance(client.facts(name).upstream, Known)

    wait_until(known, "the shield has learnt of the image")
    asked = len(relay.requests)
    assert client.access(Reference.parse(name)) == Known("public")
    assert len(relay.requests) == asked
    shields[ordered(shields, manifest_key(Reference.parse(name)))[0]].stop()
    wait_until(known, "the other replica has learnt of it")
    assert client.facts(name).upstream == Known(str(Digest.parse(str(BUILT.digest))))
