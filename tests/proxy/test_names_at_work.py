"""A proxy in a cluster whose DNS nobody has ever heard: it finds its shield, serves, and tells it what it served."""

import json
from pathlib import Path

from registry.manifest import ACCEPT
from tests.rig.components import AUTHORIZED, Component, proxy, shield
from tests.rig.images import multi_platform
from tests.rig.processes import wait_until
from tests.rig.upstream import Upstream

TOLD = {
    "KUIK_NAMESPACE": "kuik-system",
    # Nobody answers for names in 127.0.0.0/8, where the guesses are.
    "KUBERNETES_SERVICE_HOST": "127.0.0.1",
    "KUIK_SHIELD_0_SERVICE_HOST": "127.0.0.1",
}


def test_a_proxy_serves_by_what_kubelet_told_it(upstream: Upstream, tmp_path: Path) -> None:
    built = multi_platform("nameless")
    upstream.push(built, "team/nameless", "1")
    behind = shield(tmp_path / "shield", "--plain-http", upstream.host, "--cluster-domain", "cluster.local")
    behind.environment |= TOLD
    behind.start()
    url = f"http://kuik-shield-0.kuik-system.svc:{behind.port}"
    node = proxy(tmp_path / "proxy", "--shield", url, "--cluster-domain", "cluster.local")
    node.environment |= TOLD
    try:
        node.start()
        host, _, _ = upstream.host.partition(":")
        path = f"/v2/{host}__{upstream.port}/team/nameless/manifests/1"
        reply = node.get(path, {"Accept": ACCEPT})
        assert (reply.status, reply.body) == (200, built.raw)
        assert "detail=shield" in reply.headers["Cache-Status"]
        node.stop()  # which reports, at its end
        wait_until(lambda: served(behind) == 1, "the shield was told", 60)
    finally:
        node.stop()
        behind.stop()


def served(component: Component) -> int:
    return int(json.loads(component.get("/facts/savings", AUTHORIZED).body)["servedPulls"])
