"""A cluster as scenarios see it, whichever driver calls the stages in it."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from kube.types import Object
from tests.scenarios.hooks import Hooks

DIGEST = "sha256:" + "ab" * 32
COPIED = {"digest": DIGEST, "size": 4096, "platforms": ["linux/amd64"]}
JOBS = "kuik-system"
OURS = (
    "ImageCache",
    "ImageInventory",
    "ImagePrefetch",
    "CachedImage",
    "Job",
    "Role",
    "RoleBinding",
    "MutatingWebhookConfiguration",
)
_PASSING = frozenset(
    {
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "generation",
        "observedGeneration",
        "managedFields",
        "lastTransitionTime",
        "unusedSince",
        "until",
        "controller-uid",
        "batch.kubernetes.io/controller-uid",
        "kubectl.kubernetes.io/last-applied-configuration",
        "metacontroller.k8s.io/last-applied-configuration",
        "metacontroller.k8s.io/decorator-controller",
    }
)
"""Fields that differ from one run to the next: moments, what an API server numbers, and who wrote."""


class Cluster(ABC):
    """Objects, the stages over them, and a clock that only `advance` moves by much."""

    hooks: Hooks

    @abstractmethod
    def apply(self, *objects: Object) -> None:
        """`kubectl apply`."""

    @abstractmethod
    def delete(self, kind: str, name: str, namespace: str = "", *, orphan: bool = False) -> None:
        """`kubectl delete`, with `--cascade=orphan` where that is said."""

    @abstractmethod
    def every(self, kind: str) -> list[Object]:
        """All objects of a kind."""

    @abstractmethod
    def advance(self, seconds: float) -> None:
        """Let that much time pass for the stages."""

    @abstractmethod
    def settle(self) -> None:
        """Sync until all is at rest; fails unless one more sync of every parent writes nothing."""

    @abstractmethod
    def attempt(self) -> None:
        """Have every stage called, whatever comes of it."""

    @abstractmethod
    def change(self, obj: Object, change: Object) -> None:
        """`kubectl patch` with a merge patch."""

    @abstractmethod
    def report(self, obj: Object, status: Object) -> None:
        """Let an object have this status, as kubelet and Kubernetes' own controllers would write it."""

    @abstractmethod
    def bind(self, pod: Object, node: str) -> None:
        """Place a pod on a node, as the scheduler does."""

    @abstractmethod
    def beat(self, node: str) -> None:
        """Have a node's kubelet say from now on that it lives, where anybody listens."""

    @abstractmethod
    def vanish(self, pod: Object) -> None:
        """Let a pod that was deleted be gone, as kubelet does when it has ended."""

    @abstractmethod
    def end(self, job: Object, annotations: dict[str, str] | None = None, *, failed: bool = False) -> None:
        """Let a Job annotate itself and end, as its program, kubelet and the Job controller do."""

    def finish(self, image: str, result: Object) -> None:
        """Let the image's copy Job end with this result."""
        (job,) = self.jobs(image)
        self.end(job, {"kuik.dev/result": json.dumps(result)}, failed="reason" in result)

    def dump(self) -> dict[str, Any]:
        """Everything of ours without what differs from run to run, by kind and name; of Jobs what the stages said."""
        return {_name(obj): _lasting(obj) for kind in OURS for obj in self.every(kind) if _ours(obj)}

    def find(self, kind: str, name: str, namespace: str = "") -> Object | None:
        """One object, or None."""
        found = (obj for obj in self.every(kind) if obj["metadata"]["name"] == name)
        return next((obj for obj in found if obj["metadata"].get("namespace", "") == namespace), None)

    def image(self, image: str) -> Object | None:
        """The CachedImage of an image, or None."""
        found = [one for one in self.every("CachedImage") if one["spec"]["image"] == image]
        assert len(found) <= 1, "two CachedImages of one image"
        return found[0] if found else None

    def spec(self, image: str) -> Object:
        """The spec of an image's CachedImage; fails where there is none."""
        found = self.image(image)
        assert found, f"{image} has no CachedImage"
        spec: Object = found["spec"]
        return spec

    def phase(self, image: str) -> str:
        """How the image stands; empty where nothing is said."""
        return str(((self.image(image) or {}).get("status") or {}).get("phase", ""))

    def condition(self, name: str) -> tuple[str, str]:
        """Status and reason of one of the ImageCache's conditions."""
        status = (self.find("ImageCache", "default") or {}).get("status") or {}
        found = [(one["status"], one["reason"]) for one in status.get("conditions", ()) if one["type"] == name]
        return found[0] if found else ("", "")

    def rescues(self) -> list[Object]:
        """The rescue Jobs that are there to stay."""
        named = {"app.kubernetes.io/component": "rescue"}.items()
        jobs = [job for job in self.every("Job") if named <= (job["metadata"].get("labels") or {}).items()]
        return [job for job in jobs if not job["metadata"].get("deletionTimestamp")]

    def jobs(self, image: str) -> list[Object]:
        """The copy Jobs of an image."""
        owner = self.image(image)
        uid = owner["metadata"]["uid"] if owner else ""
        return [job for job in self.every("Job") if uid in _owners(job)]


def _owners(obj: Object) -> Iterator[str]:
    return (reference["uid"] for reference in obj["metadata"].get("ownerReferences") or ())


def _ours(obj: Object) -> bool:
    return obj["kind"] == "ImageCache" or bool(obj["metadata"].get("ownerReferences"))


def _name(obj: Object) -> str:
    meta = obj["metadata"]
    return "/".join(filter(None, (obj["kind"], meta.get("namespace"), meta["name"])))


def _lasting(obj: Object) -> Any:
    if obj["kind"] != "Job":
        return _scrubbed(obj)
    arguments = obj["spec"]["template"]["spec"]["containers"][0]["args"]
    return {"arguments": arguments, "annotations": _scrubbed(obj["metadata"].get("annotations") or {})}


def _scrubbed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _scrubbed(inner) for name, inner in value.items() if name not in _PASSING}
    return [_scrubbed(inner) for inner in value] if isinstance(value, list) else value
