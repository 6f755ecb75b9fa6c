"""Nodes that fall silent, as the real node controller tells of them."""

import json
from datetime import UTC, datetime
from typing import Any

from hooks.conditions import holds
from hooks.directory import PROXIES, Directory
from hooks.fitness import lost_nodes, reach
from hooks.last_look import lost
from kube.client import Api
from kube.types import format_time
from tests.cluster.rig.api import Object
from tests.cluster.rig.control_plane import ControlPlane
from tests.cluster.rig.workloads import daemon_set, pod
from tests.cluster.test_rights import account
from tests.rig.processes import wait_until

SYSTEM = "kuik-system"
LABELS = {"app.kubernetes.io/name": "kube-image-keeper", "app.kubernetes.io/component": "proxy"}


def node(plane: ControlPlane, name: str) -> Object:
    """A node whose kubelet has said once that it is well, and then nothing."""
    made: Object = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
    plane.kubectl("apply", "-f", "-", stdin=json.dumps(made))
    now = format_time(datetime.now(UTC))
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": ""}
    status = {"conditions": [{**ready, "lastHeartbeatTime": now, "lastTransitionTime": now}]}
    plane.api.request("PATCH", f"api/v1/nodes/{name}/status", {"status": status}, "application/merge-patch+json")
    return made


def started(plane: ControlPlane, name: str, *, ready: bool) -> None:
    """A proxy's pod on a node of its own, as kubelet reports it."""
    node(plane, f"node-{name}")
    made = pod(SYSTEM, name, "kuik:1", labels=LABELS, nodeName=f"node-{name}")
    plane.kubectl("apply", "-f", "-", stdin=json.dumps(made))
    conditions = [{"type": one, "status": str(ready)} for one in ("ContainersReady", "Ready")]
    container = {"name": "c0", "image": "x", "imageID": "", "restartCount": 0, "ready": ready}
    began: dict[str, Any] = {"phase": "Running", "startTime": format_time(datetime.now(UTC))}
    plane.api.patch(made, {"status": {**began, "containerStatuses": [container], "conditions": conditions}}, "status")


def test_a_silent_node_is_lost_and_its_proxy_is_not_missed(installed: ControlPlane) -> None:
    plane = installed
    proxies = daemon_set(SYSTEM, "kuik-proxy", "kuik:1", labels=LABELS)
    plane.kubectl("apply", "-f", "-", stdin=json.dumps(proxies))
    counts = {"desiredNumberScheduled": 3, "currentNumberScheduled": 3, "numberMisscheduled": 0}
    plane.api.patch(proxies, {"status": {**counts, "numberReady": 2}}, "status")
    started(plane, "silent", ready=True)
    api = Api.from_kubeconfig(str(account(plane, "kuik-hooks")))
    directory = Directory(api, SYSTEM).start()
    try:
        wait_until(lambda: "2 of 3" in getattr(directory.unfit, "message", ""), "a proxy is missed", 10)

        def silent() -> Object:
            found = plane.api.list("Pod", "app.kubernetes.io/component=proxy")
            return next(one for one in found if one["metadata"]["name"] == "silent")

        def is_ready() -> bool:
            return holds(silent(), "Ready")

        wait_until(lambda: not is_ready(), "the node controller takes the pod's Ready away", 30)
        assert lost_nodes([reach(silent())]) == 1
        assert getattr(lost(api, SYSTEM, PROXIES), "value", None) == 1
        wait_until(lambda: directory.unfit is None, "it is not missed any more", 20)
    finally:
        directory.stop()
        plane.kubectl("delete", "daemonset", "-n", SYSTEM, "kuik-proxy")
        plane.kubectl("delete", "pod", "-n", SYSTEM, "silent", "--force", "--grace-period=0")
        plane.kubectl("delete", "node", "node-silent")
