"""The rig by itself: a pod of an upstream image runs on a real node, as without kuik."""

import json

from tests.cluster.rig.workloads import pod
from tests.e2e.rig.cluster import Cluster
from tests.e2e.rig.images import runnable


def test_a_pod_runs(cluster: Cluster) -> None:
    """Before kuik is there: a pod runs, and its image comes from upstream."""
    upstream = cluster.upstreams["docker.io"]
    built = runnable("hello")
    upstream.push(built, "library/hello", "1")
    cluster.plane.kubectl("create", "-f", "-", stdin=json.dumps(pod("default", "hello", "hello:1")))
    cluster.plane.kubectl("wait", "--for=condition=Ready", "--timeout=30s", "pod/hello")
    assert upstream.count("GET", "/blobs/") >= 2, "its own layer and its configuration"
    assert "hello" in cluster.plane.kubectl("exec", "hello", "--", "cat", "/etc/hostname")
