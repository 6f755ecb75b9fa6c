"""Nodes with kubelets that pull images and start nothing: what a pod's status says, step by step, as the real ones do.

Words and order are kubelet's: the failed start of a container comes as RunContainerError and then as CrashLoopBackOff
with the container in `lastState`; a failed pull comes as ErrImagePull and then as ImagePullBackOff, with the container
of the image before beside it. After a container's image was changed, the status is about the old one for a while, also
where it says that it is of the newest generation; and the pod's first container is started once more at once, without
back-off and with the image before.
"""

from dataclasses import dataclass, field
from typing import Any

from kube.types import Object, annotations, format_time
from tests.cluster.rig.api import Refused
from tests.scenarios.cluster import Cluster

CONTAINERD = "containerd"
CRIO = "cri-o"
EPOCH = "1970-01-01T00:00:00Z"


def node(name: str, taints: tuple[Object, ...] = (), **labels: str) -> Object:
    spec: dict[str, Any] = {"taints": list(taints)} if taints else {}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "spec": spec}


@dataclass
class _Pod:
    """What a kubelet knows of one pod."""

    image: str = ""
    due: bool = False
    """Whether the image is still to be pulled."""
    containers: int = -1
    status: dict[str, Any] = field(default_factory=dict)
    steps: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Kubelets:
    """Kubelets of all nodes. `broken` are images that cannot be pulled, `digests` those that are no other's."""

    scene: Cluster
    runtime: str = CONTAINERD
    broken: dict[str, str] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    dead: set[str] = field(default_factory=set)
    pulls: list[tuple[str, str]] = field(default_factory=list)
    """Every pull that succeeded: node and image, in order."""
    most: int = 0
    """Pods at a time."""
    _pods: dict[str, _Pod] = field(default_factory=dict)

    def join(self, *nodes: Object) -> None:
        """Add nodes that are ready."""
        for one in nodes:
            self.scene.apply(one)
            self.ready(one)
            self.scene.beat(one["metadata"]["name"])

    def ready(self, one: Object, status: str = "True") -> None:
        now = format_time(self.scene.hooks.clock.now())
        condition = {"type": "Ready", "status": status, "reason": "Kubelet", "message": ""}
        moments = {"lastHeartbeatTime": now, "lastTransitionTime": now}
        self.scene.report(one, {"conditions": [{**condition, **moments}]})

    def work(self, rounds: int = 60) -> None:
        """Have all kubelets work until nothing is left to do."""
        self.scene.settle()
        for _ in range(rounds):
            if not self.tick():
                return
            self.scene.settle()
        raise AssertionError(f"the kubelets are not done in {rounds} rounds")

    def tick(self) -> bool:
        """One step of each pod; says whether there was any."""
        pods = self.prefetching()
        self.most = max(self.most, len(pods))
        steps = [self._step(pod) for pod in pods]
        return any(steps)

    def prefetching(self) -> list[Object]:
        """The pods that pull ahead of need."""
        return [one for one in self.scene.every("Pod") if "kuik.dev/prefetch-node" in annotations(one)]

    def _step(self, pod: Object) -> bool:
        name = annotations(pod)["kuik.dev/prefetch-node"]
        if name in self.dead:
            return False
        if pod["metadata"].get("deletionTimestamp"):
            self.scene.vanish(pod)
            return True
        if not pod["spec"].get("nodeName"):
            self.scene.bind(pod, name)
            return True
        known = self._pods.setdefault(pod["metadata"]["uid"], _Pod())
        (container,) = pod["spec"]["containers"]
        if container["image"] != known.image:
            known.image, known.due, known.steps = container["image"], True, self._late(known)
        if known.due and not known.steps:
            known.due, known.steps = False, self._pull(name, container["image"], known)
        if not known.steps:
            return False
        known.status = known.steps.pop(0)
        phase = "Running" if known.status["containerID"] else "Pending"
        status = {"phase": phase, "containerStatuses": [known.status]}
        if "generation" in pod["metadata"]:
            status["observedGeneration"] = pod["metadata"]["generation"]
        try:
            self.scene.report(pod, status)
        except Refused as error:
            if error.code not in (404, 409):
                raise
        return True

    def _late(self, known: _Pod) -> list[dict[str, Any]]:
        """The status as it was, once more: of the image before."""
        if not known.status:
            waiting = {"reason": "ContainerCreating"}
            return [_status("", known, {"waiting": waiting}, {}, "")]
        waiting = dict(known.status["state"]["waiting"])
        if waiting["reason"] == "RunContainerError":
            if known.containers == 0:
                known.containers = 1
                return [{**known.status, "containerID": f"{known.status['containerID']}-again", "restartCount": 1}]
            waiting = {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container=image"}
        return [{**known.status, "state": {"waiting": waiting}}]

    def _pull(self, where: str, image: str, known: _Pod) -> list[dict[str, Any]]:
        before = known.status
        if image in self.broken:
            why = f'failed to pull and unpack image "{image}": {self.broken[image]}'
            first, then = ("ErrImagePull", why), ("ImagePullBackOff", f'Back-off pulling image "{image}": ErrImagePull')
            base = before or _status("", known, {}, {}, image)
            return [{**base, "state": {"waiting": {"reason": one, "message": said}}} for one, said in (first, then)]
        self.pulls.append((where, image))
        why = 'exec: "/kuik.dev/nothing-runs-here": stat /kuik.dev/nothing-runs-here: no such file or directory'
        if self.runtime == CRIO:
            return [_status("", known, {"waiting": {"reason": "CreateContainerError", "message": why}}, {}, image)]
        known.containers += 1
        created = f"containerd://{where}-{known.containers}-{abs(hash(image)):x}"
        ended = {"exitCode": 128, "reason": "StartError", "message": why, "startedAt": EPOCH, "finishedAt": EPOCH}
        last = {"terminated": {**ended, "containerID": created}}
        waiting = {"reason": "RunContainerError", "message": why}
        digest = self.digests.get(image, image)
        # containerd names an image as whoever came first did: never rely on it.
        found = _status(created, known, {"waiting": waiting}, last, "docker.io/library/other:name")
        done = {**found, "imageID": f"docker.io/library/other@{digest}"}
        again = {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container=image"}
        backed = {**done, "state": {"waiting": again}}
        if digest not in (before.get("imageID") or ""):
            return [done, backed]
        # The same digest: only the container after the next tells for sure.
        known.containers += 1
        return [done, backed, {**backed, "containerID": f"{created}-again", "restartCount": known.containers}]


def _status(created: str, known: _Pod, state: Object, last: Object, image: str) -> dict[str, Any]:
    said = {"name": "image", "ready": False, "started": False, "restartCount": max(0, known.containers)}
    return {**said, "image": image or "?", "imageID": "", "state": state, "lastState": last, "containerID": created}
