"""Scenarios on a real API server: what people and other programs do there, and the product's own loop over it."""

import json
import threading
import time
from datetime import UTC, datetime
from typing import Any

from hooks.conditions import holds
from hooks.pull_roles import NAME as PULL_ROLE
from kube.client import Api
from kube.paths import KINDS
from kube.types import Object
from kuik.driver.objects import Store, owner_uids
from kuik.driver.remote import Remote
from tests.cluster.rig.api import MERGE
from tests.cluster.rig.control_plane import ControlPlane
from tests.rig.processes import wait_until
from tests.scenarios.cluster import JOBS, OURS, Cluster
from tests.scenarios.hooks import Clock, Hooks
from tests.scenarios.looped import Cut, Looped

QUIET = 0.4
_WORKLOADS = "deployments,daemonsets,cronjobs,pods,cachepolicies"
_WEBHOOKS = ("MutatingWebhookConfiguration",)


class OnApiServer(Cluster):
    """What does not depend on who calls the stages."""

    plane: ControlPlane
    namespaces: set[str]
    beating: set[str]
    """The nodes whose kubelets say that they live."""

    def apply(self, *objects: Object) -> None:
        self.namespaces |= {obj["metadata"]["name"] for obj in objects if obj["kind"] == "Namespace"}
        items = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.plane.kubectl("apply", "-f", "-", stdin=json.dumps(items))

    def delete(self, kind: str, name: str, namespace: str = "", *, orphan: bool = False) -> None:
        gone = self.find(kind, name, namespace)
        assert gone, f"{kind} {name} is not there"
        inside = ["-n", namespace] if namespace else []
        cascade = ["--cascade=orphan"] if orphan else []
        self.plane.kubectl("delete", kind, name, *inside, *cascade)
        # The garbage collector looks for new kinds every 30 seconds only.
        wait_until(lambda: not self._owned(gone["metadata"]["uid"]), f"what {kind} {name} owned is gone", 60)

    def change(self, obj: Object, change: Object) -> None:
        self.plane.api.patch(obj, dict(change))

    def report(self, obj: Object, status: Object) -> None:
        self.plane.api.patch(obj, {"status": status}, "status")

    def bind(self, pod: Object, node: str) -> None:
        meta = {name: pod["metadata"][name] for name in ("name", "namespace")}
        target = {"apiVersion": "v1", "kind": "Node", "name": node}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": meta, "target": target}
        self.plane.api.request("POST", f"{self.plane.api.path(pod)}/binding", binding)

    def beat(self, node: str) -> None:
        first = not self.beating
        self.beating.add(node)
        if first:
            threading.Thread(target=self._beat, args=(self.beating,), daemon=True).start()

    def _beat(self, nodes: set[str]) -> None:
        """Renew the nodes' leases until `clear` forgets them: the node controller gives silent nodes 4 seconds."""
        leases = "apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        while nodes:
            for name in sorted(nodes):
                spec = {"holderIdentity": name, "leaseDurationSeconds": 40}
                spec["renewTime"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
                lease = {
                    "apiVersion": "coordination.k8s.io/v1",
                    "kind": "Lease",
                    "metadata": {"name": name},
                    "spec": spec,
                }
                if self.plane.api.raw("PATCH", f"{leases}/{name}", {"spec": spec}, MERGE)[0] == 404:
                    self.plane.api.raw("POST", leases, lease)
            time.sleep(1)

    def vanish(self, pod: Object) -> None:
        self.plane.api.raw("DELETE", self.plane.api.path(pod), {"gracePeriodSeconds": 0})

    def end(self, job: Object, annotations: dict[str, str] | None = None, *, failed: bool = False) -> None:
        wait_until(lambda: bool(self._pods(job)), f"Job {job['metadata']['name']} has its pod", 20)
        (pod,) = self._pods(job)
        self.plane.api.patch(job, {"metadata": {"annotations": annotations or {}}})
        self.plane.api.patch(pod, {"status": {"phase": "Failed" if failed else "Succeeded"}}, "status")
        wait_until(lambda: self._ended(job), f"Job {job['metadata']['name']} has ended", 20)

    def clear(self) -> None:
        """Take away what a scenario has left, until all of it is gone."""
        self.hooks.fault = None
        self.beating.clear()
        self.plane.kubectl("delete", "imagecaches,clustercachepolicies", "--all", "--wait=false")
        for namespace in sorted(self.namespaces | {JOBS}):  # which stay: it takes an API server long to be rid of one
            self.plane.kubectl("delete", _WORKLOADS, "--all", "-n", namespace, "--grace-period=0", "--wait=false")
        self.plane.kubectl("delete", "cachedimages,imageinventories,imageprefetches,nodes", "--all", "--wait=false")
        kinds = (
            "ImageCache",
            "ImagePrefetch",
            "CachedImage",
            "Job",
            "Pod",
            "ClusterCachePolicy",
            "DaemonSet",
            "Role",
            *_WEBHOOKS,
        )
        wait_until(lambda: self._gone(kinds), "the scenario's objects are gone", 120)

    def _gone(self, kinds: tuple[str, ...]) -> bool:
        """Whether nothing is left; pods of nodes without a kubelet are ended for it."""
        for pod in self.plane_has("Pod"):
            if "deletionTimestamp" in pod["metadata"]:
                self.plane.api.raw("DELETE", self.plane.api.path(pod), {"gracePeriodSeconds": 0})
        return not any(self._left(kind) for kind in kinds)

    def _left(self, kind: str) -> list[Object]:
        return [one for one in self.plane_has(kind) if kind != "Role" or one["metadata"]["name"] == PULL_ROLE]

    def plane_has(self, kind: str) -> list[Object]:
        """All objects of a kind, as the API server has them now."""
        known = KINDS[kind]
        found = self.plane.api.request("GET", known.collection())["items"]
        return [{"apiVersion": known.api_version, "kind": kind, **one} for one in found]

    def _owned(self, uid: str) -> bool:
        return any(uid in owner_uids(obj) for kind in OURS for obj in self.plane_has(kind))

    def _pods(self, job: Object) -> list[Object]:
        name = job["metadata"]["name"]
        pods = self.plane_has("Pod")
        return [p for p in pods if (p["metadata"].get("labels") or {}).get("batch.kubernetes.io/job-name") == name]

    def _ended(self, job: Object) -> bool:
        """Whether the Job controller has seen it; a stage that was quick has taken the Job away by now."""
        uid = job["metadata"]["uid"]
        found = next((one for one in self.plane_has("Job") if one["metadata"]["uid"] == uid), None)
        return found is None or holds(found, "Complete") or holds(found, "Failed")


class _Counted(Api):
    """The API server, every write counted once it is made."""

    cut: Cut

    def request(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> dict[str, Any]:
        answer = super().request(method, path, body, kind)
        if method != "GET":
            self.cut.count()
        return answer


class Loop(OnApiServer, Looped):
    """The product's loop over the API server's objects."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self._api = _Counted.from_kubeconfig(str(plane.kubeconfig()))
        self.clock = Clock(lambda: datetime.now(UTC))
        self.hooks = Hooks(self.clock, self.plane_has)
        self.begin()

    def begin(self) -> None:
        """As if nothing had been before: for a scenario of its own on the same API server."""
        self.namespaces, self.beating = set(), set()
        self.hooks.begin()
        self.cut = self._api.cut = Cut()
        self.start()

    @property
    def store(self) -> Store:
        return self.shelf

    def start(self) -> None:
        self.shelf: Remote = Remote(self._api)
        super().start()

    def every(self, kind: str) -> list[Object]:
        return self.plane_has(kind)

    def look(self) -> None:
        """Until others are done with what follows from our writes."""
        self.shelf.look()
        while True:
            before = self.shelf.revision
            time.sleep(QUIET)
            self.shelf.look()
            if self.shelf.revision == before:
                return
