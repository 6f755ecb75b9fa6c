"""What goes on in a cluster all day, and changes neither its workloads nor their images."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.cluster.rig.api import Object
from tests.cluster.scale.hands import Hands
from tests.cluster.scale.kubelet import Kubelet, running, waiting
from tests.cluster.scale.world import STUCK

_EVERY = 3  # pods of which one is restarted
_RUNS = 29_000_000  # minutes since 1970: how the CronJob controller names its Jobs
_SECONDS = 300.0


@dataclass
class Churn:
    """Does it, and waits until the cluster's own controllers are done with it."""

    hands: Hands
    kubelet: Kubelet
    runs: int = 0

    def restarts(self) -> None:
        """Containers end, wait for their next start, and run again."""
        pods = self._pods()[::_EVERY]
        self._say(pods, lambda pod: waiting(pod, "CrashLoopBackOff", restarts=1, phase="Running"))
        self._say(pods, lambda pod: running(pod, restarts=1))

    def rescheduling(self) -> None:
        """One pod of each workload goes, and its controller makes another."""
        pods = self._running()
        self.hands.each(self.hands.delete, _one_of_each(pods))
        self._until(lambda: len(self._running()) == len(pods))

    def replicas(self) -> None:
        """All Deployments and StatefulSets get a pod more, then every fifth none at all, then as many as before.

        Without those that are stuck: where their pods go, nobody waits in vain any more, which is worth a write.
        """
        every = [*self._list("Deployment"), *self._list("StatefulSet")]
        found = [one for one in every if not _stuck(one["spec"]["template"])]
        before = len(self._running())

        def scale(change: Callable[[int, int], int]) -> None:
            many = [(one, change(at, one["spec"]["replicas"])) for at, one in enumerate(found)]
            self.hands.each(lambda one: self.hands.patch(one[0], {"spec": {"replicas": one[1]}}), many)

        scale(lambda _, now: now + 1)
        self._until(lambda: len(self._running()) == before + len(found))
        scale(lambda at, now: now if at % 5 else 0)
        scale(lambda _, now: now)
        self._until(lambda: len(self._running()) == before)

    def cron_runs(self) -> None:
        """Every CronJob makes a Job, whose pod runs and ends; then the Job goes."""
        self.runs += 1
        jobs = [_run_of(cron, _RUNS + self.runs) for cron in self._list("CronJob")]
        self.hands.each(self.hands.create, jobs)
        self._until(lambda: all(map(self._ended, jobs)))
        self.hands.each(self.hands.delete, jobs)

    def failing_pulls(self) -> None:
        """Pods that ran for long cannot pull for a moment, by both of kubelet's names for it; and so do new ones."""
        pods = _one_of_each(self._pods())
        for reason in ("ErrImagePull", "ImagePullBackOff", "ErrImagePull"):
            self._say(pods, lambda pod, why=reason: waiting(pod, why, restarts=2, phase="Running"))  # type: ignore[misc]
        self._say(pods, lambda pod: running(pod, restarts=2))
        self.kubelet.failing = True
        self.rescheduling()
        self.kubelet.failing = False

    def stuck_pulls(self) -> None:
        """Pods that wait in vain go to and fro between kubelet's two names for it."""
        pods = [{"kind": "Pod", **pod} for pod in self._list("Pod") if _stuck(pod)]
        for reason in ("ImagePullBackOff", "ErrImagePull") * 3:
            self._say(pods, lambda pod, why=reason: _still(pod, why))  # type: ignore[misc]

    def _say(self, pods: list[Object], status: Callable[[Object], dict[str, Any]]) -> None:
        self.hands.each(lambda pod: self.hands.patch(pod, {"status": status(pod)}, "status"), pods)

    def _list(self, kind: str) -> list[Object]:
        paths = {"Pod": "api/v1/pods", "CronJob": "apis/batch/v1/cronjobs", "Job": "apis/batch/v1/jobs"}
        path = paths.get(kind) or f"apis/apps/v1/{kind.lower()}s"
        return [{"kind": kind, **one} for one in self.hands.ask("GET", path)["items"]]

    def _pods(self) -> list[Object]:
        """Those that run, under a controller of their namespace."""
        return [pod for pod in self._list("Pod") if pod["status"]["phase"] == "Running" and not _stuck(pod)]

    def _running(self) -> list[Object]:
        """The metadata of these pods. Those that are to end are gone with that, as kubelet would see to."""
        found = self.hands.metadata("api/v1/pods?fieldSelector=status.phase%3DRunning")
        pods = [{**pod, "kind": "Pod"} for pod in found if not _stuck(pod)]
        self.hands.each(self.hands.delete, (pod for pod in pods if "deletionTimestamp" in pod["metadata"]))
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def _ended(self, job: Object) -> bool:
        meta = job["metadata"]
        found = self.hands.ask("GET", f"apis/batch/v1/namespaces/{meta['namespace']}/jobs/{meta['name']}")
        return bool((found.get("status") or {}).get("succeeded"))

    def _until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _SECONDS
        while not holds():
            assert time.monotonic() < deadline, f"the cluster's own controllers are not done within {_SECONDS} s"
            time.sleep(0.5)


def _still(pod: Object, reason: str) -> dict[str, Any]:
    return {**waiting(pod, reason), "startTime": pod["status"]["startTime"]}


def _stuck(pod: Object) -> bool:
    return STUCK in (pod["metadata"].get("labels") or {})


def _one_of_each(pods: list[Object]) -> list[Object]:
    """The first pod of every ReplicaSet and StatefulSet."""
    found = {pod["metadata"]["ownerReferences"][0]["uid"]: pod for pod in reversed(pods)}
    return list(found.values())


def _run_of(cron: Object, minutes: int) -> Object:
    meta = cron["metadata"]
    owner = {"apiVersion": "batch/v1", "kind": "CronJob", "name": meta["name"], "uid": meta["uid"], "controller": True}
    name = f"{meta['name']}-{minutes}"
    named = {"namespace": meta["namespace"], "name": name, "ownerReferences": [owner]}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": named, "spec": cron["spec"]["jobTemplate"]["spec"]}
