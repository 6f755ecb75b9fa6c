"""The first image: pulled through the proxy, and kept."""

import json

from tests.cluster.rig.workloads import pod
from tests.e2e.rig.images import runnable
from tests.e2e.rig.install import Installed
from tests.rig.processes import wait_until


def test_a_pods_image_is_pulled_through_the_proxy_and_becomes_cached(kuik: Installed) -> None:
    upstream = kuik.cluster.upstreams["docker.io"]
    built = runnable("first")
    upstream.push(built, "library/first", "1")
    kuik.kubectl("create", "-f", "-", stdin=json.dumps(pod("default", "first", "first:1")))
    kuik.kubectl("wait", "--for=condition=Ready", "--timeout=30s", "pod/first")
    (seen,) = [one for one in kuik.get("pods") if one["metadata"]["name"] == "first"]
    assert seen["spec"]["containers"][0]["image"] == "localhost:7439/docker.io/library/first:1"
    wait_until(lambda: [one["status"].get("phase") for one in kuik.get("ci")] == ["Cached"], "it is cached", 60)
