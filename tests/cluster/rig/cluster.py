"""kuik in a cluster as tests see it: objects applied, stages called by the real Metacontroller, what comes of it."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.cluster.rig import metacontroller
from tests.cluster.rig.api import RESOURCES, Object, Refused
from tests.cluster.rig.control_plane import ControlPlane
from tests.rig.components import Component
from tests.rig.processes import wait_until

JOBS = "kuik-system"
OURS = ("ImageCache", "ImageInventory", "CachedImage", "Job", "MutatingWebhookConfiguration")
WRITTEN = (
    "imagecaches",
    "imageinventories",
    "cachedimages",
    "jobs",
    "mutatingwebhookconfigurations",
    "roles",
    "rolebindings",
)
DIGEST = "sha256:" + "ab" * 32
COPIED = {"digest": DIGEST, "size": 4096, "platforms": ["linux/amd64"]}


@dataclass
class Cluster:
    """The control plane with Metacontroller and the hooks, which call each other over HTTP."""

    plane: ControlPlane
    hooks: Component
    _restarts: int = 0

    def apply(self, *objects: Object) -> None:
        """`kubectl apply` of these objects."""
        items = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.plane.kubectl("apply", "-f", "-", stdin=json.dumps(items))

    def delete(self, *arguments: str) -> None:
        """`kubectl delete`, until it is gone."""
        self.plane.kubectl("delete", *arguments)

    def find(self, kind: str, name: str) -> Object | None:
        """A cluster-scoped object, or None."""
        try:
            return {"kind": kind, **self.plane.api.request("GET", f"{RESOURCES[kind]}/{name}")}
        except Refused as refused:
            if refused.code != 404:
                raise
            return None

    def image(self, image: str) -> Object | None:
        """The CachedImage of an image, or None."""
        found = [one for one in self.plane.api.list("CachedImage") if one["spec"]["image"] == image]
        assert len(found) <= 1, "two CachedImages of one image"
        return found[0] if found else None

    def jobs(self, image: str) -> list[Object]:
        """The copy Jobs that an image's CachedImage owns."""
        owner = self.image(image)
        uid = owner["metadata"]["uid"] if owner else ""
        return [job for job in self.plane.api.list("Job") if uid in _owners(job)]

    def phase(self, image: str) -> str:
        """How the image stands; empty where nothing is said."""
        return str(((self.image(image) or {}).get("status") or {}).get("phase", ""))

    def until(self, holds: Callable[[], Any], what: str, seconds: float = 20.0) -> None:
        """Wait for something that the stages bring about; the hooks' log tells where they do not."""
        try:
            wait_until(lambda: bool(holds()), what, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self._story()}") from None

    def finish(self, image: str, result: Object) -> None:
        """Let the image's copy Job end with this result, as copy Job and kubelet do; the Job controller sees the rest.

        The copy Job annotates its Job, then its pod ends.
        """
        self.until(lambda: self._pod(image), f"the copy Job of {image} has its pod")
        (job,) = self.jobs(image)
        self.plane.api.patch(job, {"metadata": {"annotations": {"kuik.dev/result": json.dumps(result)}}})
        pod = self._pod(image)
        assert pod
        phase = "Failed" if "reason" in result else "Succeeded"
        self.plane.api.patch(pod, {"status": {"phase": phase}}, "status")

    def _pod(self, image: str) -> Object | None:
        jobs = self.jobs(image)
        pods = self.plane.api.list("Pod", f"batch.kubernetes.io/job-name={jobs[0]['metadata']['name']}") if jobs else []
        return pods[0] if pods else None

    def dump(self) -> dict[str, str]:
        """Everything of ours with its resourceVersion."""
        return {
            self.plane.api.path(obj): obj["metadata"]["resourceVersion"]
            for kind in OURS
            for obj in self.plane.api.list(kind)
        }

    def started(self) -> None:
        """Wait until every stage has spoken: each namespace has its inventory, and the ImageCache its status."""

        def spoken() -> bool:
            names = {ns["metadata"]["name"] for ns in self.plane.api.list("Namespace")}
            inventories = {one["metadata"]["name"] for one in self.plane.api.list("ImageInventory")}
            return names == inventories and "status" in (self.find("ImageCache", "default") or {})

        self.until(spoken, "the stages have spoken", 60)

    def calls(self, stage: str) -> int:
        """How often a stage has been asked so far."""
        return self.hooks.log.read_text(errors="replace").count(f": synced {stage} in ")

    def quiet(self, seconds: float = 1.5) -> None:
        """Wait until nothing of ours has changed for that long."""
        seen, since = self.dump(), time.monotonic()

        def rests() -> bool:
            nonlocal seen, since
            found = self.dump()
            if found != seen:
                seen, since = found, time.monotonic()
            return time.monotonic() - since >= seconds

        self.until(rests, "the cluster comes to rest", 60)

    def settle(self) -> None:
        """Wait for rest, then fail unless one more sync of every parent writes nothing, not even in vain."""
        self.quiet()
        writes, before = self.plane.api.writes(*WRITTEN), self.dump()
        self.sync_again()
        assert self.plane.api.writes(*WRITTEN) == writes, f"a sync of what is at rest writes\n{self._story()}"
        assert self.dump() == before

    def sync_again(self) -> None:
        """Have every stage called again for each of its parents, by changing nothing but the controllers' resync."""
        parents = {"inventory": "Namespace", "imagecache": "ImageCache", "cachedimage": "CachedImage"}
        due = {stage: self.calls(stage) + len(self.plane.api.list(kind)) for stage, kind in parents.items()}
        self._restarts += 1
        self.plane.kubectl("apply", "-f", "-", stdin=metacontroller.controllers(self.hooks.url, 600 + self._restarts))
        try:
            self.until(
                lambda: all(self.calls(stage) >= count for stage, count in due.items()), f"the stages reach {due}", 60
            )
        except AssertionError as error:
            raise AssertionError(f"{ {stage: self.calls(stage) for stage in due} }: {error}") from None
        self.quiet(1.0)

    def _story(self) -> str:
        logs = (self.hooks.log.read_text(errors="replace"), self.plane.log("metacontroller"))
        return "\n".join("\n".join(line[:400] for line in log.splitlines()[-12:]) for log in logs)


def _owners(obj: Object) -> Iterator[str]:
    for reference in obj["metadata"].get("ownerReferences", ()):
        yield reference["uid"]
