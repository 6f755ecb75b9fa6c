"""Images that come to nodes before a pod needs them."""

import json
from typing import Any

from hooks.conditions import condition
from tests.e2e.rig.asked import Asked
from tests.e2e.rig.images import bare, runnable
from tests.e2e.rig.install import Installed, proxied
from tests.rig.processes import wait_until

NAME = "all.ahead.node"


def test_images_are_on_the_node_before_a_pod_needs_them(kuik: Installed) -> None:
    """A policy's images, one of them without a shell and two of one digest, are on the node ahead of need."""
    upstream = kuik.cluster.upstreams["docker.io"]
    built = {"ahead-one": runnable("ahead"), "ahead-same": runnable("ahead"), "ahead-bare": bare("ahead")}
    for name, image in built.items():
        upstream.push(image, f"library/{name}", "1")
    asked = {name: Asked(upstream, f"library/{name}") for name in built}
    images = [f"{name}:1" for name in (*built, "ahead-missing")]
    selector = {"kubernetes.io/hostname": "node-1"}
    policy: dict[str, Any] = {
        "apiVersion": "kuik.dev/v1alpha1",
        "kind": "ClusterCachePolicy",
        "metadata": {"name": "ahead"},
        "spec": {"prefetch": [{"name": "node", "images": images, "nodeSelector": selector}]},
    }
    kuik.kubectl("apply", "-f", "-", stdin=json.dumps(policy))

    def reason() -> str:
        found = [one for one in kuik.get("imageprefetches") if one["metadata"]["name"] == NAME]
        said = condition(found[0], "Ready") if found else None
        return str(said["reason"]) if said else ""

    wait_until(lambda: reason() == "Failed", "the node has what there is", 90)
    (found,) = kuik.get("imageprefetches")
    (state,) = found["status"]["states"]
    assert (state["pulled"], state["of"]) == (3, 4)
    assert state["message"].startswith("docker.io/library/ahead-missing:1: ")
    policy["spec"]["prefetch"][0]["images"] = images[:-1]
    kuik.kubectl("apply", "-f", "-", stdin=json.dumps(policy))
    wait_until(lambda: reason() == "Pulled", "all images are on the node", 90)

    def left() -> list[str]:
        names = (str(one["metadata"]["name"]) for one in kuik.get("pods", "-A"))
        return [name for name in names if name.startswith("prefetch-")]

    wait_until(lambda: not left(), "the pod leaves once the status remembers what it did", 30)
    for name, image in built.items():
        blobs = asked[name].blobs()
        assert set(blobs) <= {str(digest) for digest in image.blobs}
        assert set(blobs.values()) <= {1}, f"{name}: upstream is asked once"
    events = kuik.kubectl("get", "events", "-n", "kuik-system", "-o", "json")
    told = [one for one in json.loads(events)["items"] if one["involvedObject"]["name"].startswith("prefetch-")]
    started = [one for one in told if one["reason"] == "Started"]
    assert started == [], "nothing of an image ever runs"
    assert {proxied(f"{name}:1") for name in built} <= set(kuik.cluster.named("node-1").images())
    kuik.kubectl("delete", "clustercachepolicy", "ahead")
    wait_until(lambda: not kuik.get("imageprefetches"), "the ImagePrefetch goes with its rule", 60)
