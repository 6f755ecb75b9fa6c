"""What kubelet does to pods, and the copy Job in its own: here only the statuses that they would write."""

import json
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

from kube.types import format_time
from tests.cluster.rig.api import Api, Object
from tests.cluster.scale.hands import Hands
from tests.cluster.scale.world import STUCK
from tests.scenarios.cluster import COPIED, JOBS

_PENDING = "api/v1/pods?fieldSelector=status.phase%3DPending"
_PAUSE = 0.2
_LONG_AGO = timedelta(hours=1)
_JOB = "batch.kubernetes.io/job-name"


class Kubelet(threading.Thread):
    """Starts every pod that comes, and ends those of Jobs, until it is told to `stop`.

    Pods have started an hour ago; those with the label STUCK cannot pull their image since then.
    """

    def __init__(self, api: Api) -> None:
        super().__init__(name="kubelet", daemon=True)
        self._hands = Hands(api)
        self._stopped = threading.Event()
        self._known: set[str] = set()
        self.started = 0
        """Pods that a status was given to, without those of Jobs."""
        self.failing = False
        """While it holds, the first pull of every new pod fails, and the next succeeds."""

    def run(self) -> None:
        while not self._stopped.wait(_PAUSE):
            found = self._hands.ask("GET", _PENDING)["items"]
            new = [pod for pod in found if pod["metadata"]["uid"] not in self._known]
            self._known |= {pod["metadata"]["uid"] for pod in new}
            self._hands.each(self._start, ({"kind": "Pod", **pod} for pod in new))
            self.started += sum(_JOB not in (pod["metadata"].get("labels") or {}) for pod in new)

    def stop(self) -> None:
        self._stopped.set()
        self.join(30)
        self._hands.close()

    def _start(self, pod: Object) -> None:
        labels = pod["metadata"].get("labels") or {}
        if STUCK in labels:
            self._hands.patch(pod, {"status": waiting(pod, "ErrImagePull", began=_LONG_AGO)}, "status")
            return
        if self.failing:
            for reason in ("ErrImagePull", "ImagePullBackOff"):
                self._hands.patch(pod, {"status": waiting(pod, reason)}, "status")
        if _JOB in labels:
            self._run(pod, labels[_JOB])
        else:
            self._hands.patch(pod, {"status": running(pod)}, "status")

    def _run(self, pod: Object, name: str) -> None:
        if pod["metadata"]["namespace"] == JOBS:  # a copy says how it went before it ends
            job = {"kind": "Job", "metadata": {"namespace": JOBS, "name": name}}
            self._hands.patch(job, {"metadata": {"annotations": {"kuik.dev/result": json.dumps(COPIED)}}})
        else:
            self._hands.patch(pod, {"status": running(pod)}, "status")
        self._hands.patch(pod, {"status": {"phase": "Succeeded"}}, "status")


def running(pod: Object, restarts: int = 0) -> dict[str, Any]:
    """The status of a pod whose containers all run."""
    moment = format_time(datetime.now(UTC))
    state = {"running": {"startedAt": moment}}
    conditions = [_condition("PodScheduled"), _condition("Initialized"), _condition("Ready")]
    started = {"startTime": format_time(datetime.now(UTC) - _LONG_AGO), "conditions": conditions}
    return {"phase": "Running", **started, "containerStatuses": _statuses(pod, state, restarts)}


def waiting(
    pod: Object, reason: str, began: timedelta = timedelta(), restarts: int = 0, phase: str = "Pending"
) -> dict[str, Any]:
    """The status of a pod none of whose containers can start for that reason; with restarts, since they ended now."""
    started = format_time(datetime.now(UTC) - (_LONG_AGO if restarts else began))
    state = {"waiting": {"reason": reason, "message": f"{reason} as the test wants it"}}
    statuses = _statuses(pod, state, restarts)
    return {"phase": phase, "startTime": started, "containerStatuses": statuses}


def _condition(kind: str) -> dict[str, str]:
    moment = format_time(datetime.now(UTC) - _LONG_AGO)
    return {"type": kind, "status": "True", "lastTransitionTime": moment}


def _statuses(pod: Object, state: Object, restarts: int) -> list[dict[str, Any]]:
    moment = format_time(datetime.now(UTC))
    ended = {"terminated": {"exitCode": 1, "reason": "Error", "startedAt": moment, "finishedAt": moment}}
    return [
        {
            "name": container["name"],
            "image": container["image"],
            "imageID": "",
            "ready": "running" in state,
            "restartCount": restarts,
            "state": state,
            "lastState": ended if restarts else {},
        }
        for container in pod["spec"]["containers"]
    ]
