"""Sources that are silent or trickle, as processes meet them: others take over, and the bytes are right."""

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.continued import KEPT_SECONDS
from registry.digest import Digest
from tests.rig import faulty
from tests.rig.components import Component, proxy
from tests.rig.faulty import Exchange, Relay
from tests.rig.link import Link

CONTENT = b"".join(hashlib.sha256(bytes([number])).digest() for number in range(250)) * 250
PATH = f"/v2/quay.io/a/blobs/{Digest.of(CONTENT)}"
ATTEMPTS = 3


def trickles(exchange: Exchange) -> None:
    """300,000 bytes at once, and then 1,000 in a second."""
    exchange.begin(200, {"Content-Length": str(len(CONTENT))})
    exchange.write(CONTENT[:300_000])
    for at in range(300_000, len(CONTENT), 100):
        exchange.write(CONTENT[at : at + 100])
        time.sleep(0.1)


def ranged(exchange: Exchange) -> None:
    """CONTENT, or the rest of it that is asked for."""
    wanted = exchange.headers.get("Range", "")
    first = int(wanted.removeprefix("bytes=").partition("-")[0] or 0)
    headers = {"Content-Range": f"bytes {first}-{len(CONTENT) - 1}/{len(CONTENT)}"} if wanted else {}
    exchange.send(faulty.Answer(206 if wanted else 200, headers, CONTENT[first:]))


@pytest.fixture
def good() -> Iterator[Relay]:
    with Relay() as relay:
        relay.rule(ranged, path=PATH, times=None)
        yield relay


@pytest.fixture
def link(good: Relay) -> Iterator[Link]:
    with Link(good.host) as link:
        yield link


@pytest.fixture
def component(link: Link, good: Relay, tmp_path: Path) -> Iterator[Component]:
    """A proxy with a registry behind the link, and a shield that has the blob."""
    component = proxy(tmp_path, "--registry", f"http://{link.host}", "--shield", good.url).start()
    yield component
    component.stop()


def test_a_source_that_trickles_is_left_for_another_in_the_middle(
    component: Component, link: Link, good: Relay
) -> None:
    link.faulty(trickles, path=PATH)
    begun = time.monotonic()
    assert component.get(PATH).body == CONTENT
    assert KEPT_SECONDS <= time.monotonic() - begun < 60
    ranges = [seen.headers.get("Range", "") for seen in good.requests if seen.headers.get("Range")]
    assert len(ranges) == 1
    assert int(ranges[0].removeprefix("bytes=").partition("-")[0]) >= 300_000


def test_a_source_that_trickles_is_kept_where_there_is_no_other(good: Relay, tmp_path: Path) -> None:
    alone = proxy(tmp_path / "alone", "--registry", good.url).start()

    def slowly(exchange: Exchange) -> None:
        exchange.begin(200, {"Content-Length": str(len(CONTENT))})
        exchange.write(CONTENT[:-40])
        for at in range(40, 0, -1):
            exchange.write(CONTENT[len(CONTENT) - at : len(CONTENT) - at + 1])
            time.sleep(0.1)

    good.rules.clear()
    good.rule(slowly, path=PATH, times=None)
    try:
        assert alone.get(PATH).body == CONTENT
        assert good.count("GET", PATH) == 1
    finally:
        alone.stop()


@pytest.mark.parametrize("fault", ["swallow", "silent"])
def test_a_silent_registry_is_waited_for_once(component: Component, link: Link, fault: str) -> None:
    assert component.get(PATH).headers["Cache-Status"].endswith("detail=registry")
    getattr(link, fault)()
    for _ in range(ATTEMPTS):
        reply = component.get(PATH)
        assert reply.body == CONTENT
        assert reply.headers["Cache-Status"].endswith("detail=shield")
    assert component.log.read_text().count("TooSlow") <= 1
