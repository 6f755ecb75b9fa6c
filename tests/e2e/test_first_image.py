"""A new user's first image: it comes through the proxy, is kept, and tells its story."""

import re

from tests.e2e.rig.asked import Asked
from tests.e2e.rig.images import runnable
from tests.e2e.rig.install import Installed, proxied
from tests.e2e.rig.workload import Workloads


def test_installing_restarts_nothing(kuik: Installed, pods: Workloads) -> None:
    """`helm install` while pods run: their containers are the same as before, and so are their images."""
    assert kuik.found_running
    assert kuik.found_running.items() <= pods.running().items()


def test_the_first_image_is_pulled_through_the_proxy_and_cached(kuik: Installed, pods: Workloads) -> None:
    """A pod's first image comes through the proxy and becomes Cached; `kubectl describe ci` tells the story."""
    upstream = kuik.cluster.upstreams["docker.io"]
    built = runnable("first")
    upstream.push(built, "library/first", "1")
    asked = Asked(upstream, "library/first")
    pods.run("first", "first:1", node="node-1")
    seen = pods.ready("first")
    assert pods.image("first") == proxied("first:1")
    assert seen["status"]["containerStatuses"][0]["imageID"].endswith(str(built.digest)), "upstream's own digest"
    name = kuik.cached("docker.io/library/first:1")
    # Pulled by kubelet and copied by kuik, and upstream was asked for each blob once; a layer that node and registry
    # have of another image is asked for by nobody.
    once = {str(digest): 1 for digest in built.blobs}
    assert len(asked.blobs()) >= 2, "its own layer and its configuration"
    assert asked.blobs().items() <= once.items()
    told = kuik.kubectl("describe", "ci", name)
    assert re.search(r"Phase:\s+Cached", told)
    assert re.search(rf"Digest:\s+{built.digest}", told)
    assert re.search(r"Normal\s+Copying\b", told), told
    assert re.search(r"Normal\s+Cached\b", told), told
    pods.delete("first")


def test_a_second_node_asks_upstream_for_nothing(kuik: Installed, pods: Workloads) -> None:
    """A second node pulls the cached image without one request upstream."""
    kuik.node(2)  # before the tag is asked for: after a minute it would be asked for once more
    kuik.cluster.upstreams["docker.io"].push(runnable("everywhere"), "library/everywhere", "1")
    pods.run("here", "everywhere:1", node="node-1")
    pods.ready("here")
    kuik.cached("docker.io/library/everywhere:1")
    asked = Asked(kuik.cluster.upstreams["docker.io"], "library/everywhere")
    pods.run("there", "everywhere:1", node="node-2")
    pods.ready("there")
    assert pods.image("there") == proxied("everywhere:1")
    assert asked.all() == []
    pods.delete("here", "there")
