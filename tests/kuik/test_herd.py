"""Many clients at once, one blob, nothing cached: upstream is asked once, and memory stays small."""

import concurrent.futures
import hashlib
import http.client
from pathlib import Path

from tests.rig.images import image
from tests.rig.kuik import Running, proxied
from tests.rig.upstream import Upstream

CLIENTS = 20
SIZE = 64 << 20
LIMIT = 150 << 20


def digest_of(host: str, path: str, running: Running, peaks: list[int]) -> str:
    connection = http.client.HTTPConnection(host, timeout=60)
    connection.request("GET", path)
    response = connection.getresponse()
    assert response.status == 200
    hasher, count = hashlib.sha256(), 0
    while piece := response.read(1 << 20):
        hasher.update(piece)
        count += 1
        if count % 16 == 0:
            peaks.append(running.memory())
    return hasher.hexdigest()


def test_a_herd_of_cold_pulls_costs_one_request_and_little_memory(upstream: Upstream, tmp_path: Path) -> None:
    built = image("big", layers=1, layer_size=SIZE)
    name = upstream.push(built, "a/big", "1")
    layer = max(built.blobs, key=lambda digest: len(built.blobs[digest]))
    peaks: list[int] = []
    with Running(tmp_path / "store", ("--plain-http", upstream.host)) as running:
        path = f"/v2/{proxied(running.host, name).partition('/')[2].rpartition(':')[0]}/blobs/{layer}"
        with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
            found = list(pool.map(lambda _: digest_of(running.host, path, running, peaks), range(CLIENTS)))
    assert found == [layer.hex] * CLIENTS
    assert upstream.count("GET", f"/blobs/{layer}") == 1
    assert peaks
    assert max(peaks) < LIMIT, f"{max(peaks) >> 20} MiB"
