"""Admission: the answer to an AdmissionReview of admission.k8s.io/v1. It never refuses a pod."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hooks.facts import Observation
from hooks.messages import Unreadable
from hooks.resources import NAMESPACE
from hooks.rewrite import Rules, patch, plan, references
from kube.types import Object, part
from registry.reference import Reference

API_VERSION = "admission.k8s.io/v1"


@dataclass(frozen=True, slots=True)
class AdmissionResponse:
    """A pod let through, with the operations of its JSON patch (RFC 6902) and why images were left alone."""

    uid: str
    operations: Sequence[Mapping[str, Any]] = ()
    left: Sequence[str] = ()

    def review(self) -> dict[str, Any]:
        """The AdmissionReview to answer with."""
        response: dict[str, Any] = {"uid": self.uid, "allowed": True}
        if self.operations:
            text = json.dumps(self.operations, separators=(",", ":"))
            response |= {"patchType": "JSONPatch", "patch": base64.b64encode(text.encode()).decode()}
        if self.left:
            response["auditAnnotations"] = {"left-alone": "; ".join(self.left)}
        return {"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response}


def admit(review: Mapping[str, Any], seen: Observation) -> AdmissionResponse:
    """Point a new pod's images to the proxy where they are known to be public; raises Unreadable.

    Updates are never patched: kubelet restarts a container whose image string changes.
    """
    request = _request(review)
    pod = _new_pod(request)
    if pod is None:
        return AdmissionResponse(request["uid"])
    decided = plan(pod, _rules(request, seen))
    left = [f"{one.container}: {one.why.rule}" for one in decided.left]
    return AdmissionResponse(request["uid"], patch(pod, decided), left)


def asked(review: Mapping[str, Any], seen: Observation) -> frozenset[Reference]:
    """The images whose access has to be known to admit the pod as well as can be; raises Unreadable."""
    request = _request(review)
    pod = _new_pod(request)
    return references(pod, _rules(request, seen)) if pod is not None else frozenset()


def _request(review: Mapping[str, Any]) -> Object:
    found = (review.get("apiVersion"), review.get("kind")) if isinstance(review, Mapping) else (None, None)
    if found != (API_VERSION, "AdmissionReview"):
        raise Unreadable(f"this endpoint answers {API_VERSION} AdmissionReview, not {found[0]} {found[1]}")
    request = part(review, "request")
    if not isinstance(request.get("uid"), str) or not request["uid"]:
        raise Unreadable("request.uid is missing")
    return request


def _new_pod(request: Object) -> Object | None:
    """The pod that is being created; None for every other request."""
    resource = part(request, "resource")
    is_pod = (resource.get("group", ""), resource.get("resource")) == ("", "pods") and not request.get("subResource")
    if request.get("operation") != "CREATE" or not is_pod:
        return None
    pod = request.get("object")
    if not isinstance(pod, Mapping) or not isinstance(pod.get("spec"), Mapping):
        raise Unreadable("request.object is no pod")
    return pod


def _rules(request: Object, seen: Observation) -> Rules:
    namespaces = seen.related.get(NAMESPACE.group, {})
    return Rules(seen.settings, seen.access, namespaces.get(str(request.get("namespace", ""))))
