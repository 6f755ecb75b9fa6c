"""Admission: the answer to an AdmissionReview of admission.k8s.io/v1. It never refuses a pod."""

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import jsonpatch

from hooks.messages import Unreadable
from hooks.rewrite import (
    EPHEMERAL,
    Left,
    Rewrite,
    Rules,
    annotate,
    patch,
    plan,
    references,
    replace_images,
)
from kube.types import GROUP, Object, annotations, entries, part
from registry.reference import Reference

API_VERSION = "admission.k8s.io/v1"
WOULD = f"{GROUP}/would-rewrite"
"""The annotation that Audit sets: a JSON object of container names and the images that On would give them."""
LEFT = f"{GROUP}/left-alone"
"""The annotation that Audit sets: a JSON object of container names and why their images would stay."""

_ANNOTATIONS = 256 * 1024
"""Bytes of all annotations of an object: with more, the API server refuses it."""
_MOST_WARNINGS = 3
_LONGEST_WARNING = 200
_WORTH_A_WARNING = frozenset({"PrivateNoProof", "InvalidReference", "ProxiesUnfit"})
_MOST_LEFT = 50


class Mode(Enum):
    """What the webhook that was called does; the value is the end of its path."""

    ON = "on"
    OPT_IN = "opt-in"
    AUDIT = "audit"


@dataclass(frozen=True, slots=True)
class Request:
    """What an AdmissionReview asks. `pod` is None where nothing is to be done.

    `new` are the names of the ephemeral containers that are added, None where the pod itself is new.
    """

    uid: str
    namespace: str
    pod: Object | None = None
    new: frozenset[str] | None = None

    @property
    def only(self) -> Callable[[str, Object], bool] | None:
        """Which containers it is about; None for all of a new pod."""
        new = self.new
        return None if new is None else lambda field, container: field == EPHEMERAL and container.get("name") in new


@dataclass(frozen=True, slots=True)
class AdmissionResponse:
    """A pod let through, with the operations of its JSON patch (RFC 6902), warnings, and why images were left alone."""

    uid: str
    operations: Sequence[Mapping[str, Any]] = ()
    left: Sequence[Left] = ()

    def review(self) -> dict[str, Any]:
        """The AdmissionReview to answer with."""
        response: dict[str, Any] = {"uid": self.uid, "allowed": True}
        if self.operations:
            text = jsonpatch.JsonPatch(self.operations).to_string()
            response |= {"patchType": "JSONPatch", "patch": base64.b64encode(text.encode()).decode()}
        if self.left:
            told = [f"{one.container}: {one.why.rule}" for one in self.left[:_MOST_LEFT]]
            response["auditAnnotations"] = {"left-alone": "; ".join(told)}
        warnings = list(_warnings(self.left))
        if warnings:
            response["warnings"] = warnings[:_MOST_WARNINGS]
        return {"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response}


def read(review: Mapping[str, Any]) -> Request:
    """What is asked; raises Unreadable. Updates of pods ask nothing.

    kubelet restarts a container whose image string changes, so only what is not there yet is ever patched.
    """
    request = _request(review)
    uid, namespace = request["uid"], str(request.get("namespace") or "")
    resource = part(request, "resource")
    if (resource.get("group", ""), resource.get("resource")) != ("", "pods"):
        return Request(uid, namespace)
    asked = (request.get("operation"), request.get("subResource") or "")
    if asked == ("CREATE", ""):
        return Request(uid, namespace, _pod(request, "object"))
    if asked == ("UPDATE", "ephemeralcontainers"):
        pod = _pod(request, "object")
        return Request(uid, namespace, pod, _ephemeral(pod) - _ephemeral(_pod(request, "oldObject")))
    return Request(uid, namespace)


def admit(request: Request, rules: Rules, mode: Mode = Mode.ON) -> AdmissionResponse:
    """Point the pod's new images to the proxy where they may be pulled from it, or say so where `mode` is AUDIT."""
    pod = request.pod
    if pod is None:
        return AdmissionResponse(request.uid)
    decided = plan(pod, rules, request.only)
    operations = list(_operations(pod, decided, mode, ephemeral=request.new is not None))
    return AdmissionResponse(request.uid, operations if _fits(pod, operations) else (), decided.left)


def asked(request: Request, rules: Rules) -> frozenset[Reference]:
    """The images whose access has to be known to admit the pod as well as can be."""
    return references(request.pod, rules, request.only) if request.pod is not None else frozenset()


def _operations(pod: Object, decided: Rewrite, mode: Mode, *, ephemeral: bool) -> Iterator[Mapping[str, Any]]:
    if mode is Mode.AUDIT:
        would = {change.container: change.after for change in decided.changes}
        left = {one.container: one.why.rule for one in decided.left}
        found = {name: _text(value) for name, value in ((WOULD, would), (LEFT, left)) if value}
        if found and not ephemeral:
            yield from annotate(pod, found)
    elif ephemeral:
        # The subresource takes no change of metadata.
        yield from replace_images(decided)
    else:
        yield from patch(pod, decided)


def _fits(pod: Object, operations: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the pod with its new annotations is still one that the API server takes."""
    added = [op for op in operations if isinstance(op["value"], str)]
    there = sum(len(str(key)) + len(str(value).encode()) for key, value in annotations(pod).items())
    return there + sum(len(op["path"]) + len(op["value"].encode()) for op in added) < _ANNOTATIONS


def _text(value: Mapping[str, str]) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _warnings(left: Sequence[Left]) -> Iterator[str]:
    """What the user should know, once for each reason; HTTP headers take no more than short ASCII."""
    said: set[str] = set()
    for one in left:
        if one.why.rule in _WORTH_A_WARNING and one.why.rule not in said:
            said.add(one.why.rule)
            text = f"kuik does not cache container {one.container[:63]}: {one.why.message}"
            yield text.encode("ascii", "replace").decode().replace("\n", " ")[:_LONGEST_WARNING]


def _request(review: Mapping[str, Any]) -> Object:
    found = (review.get("apiVersion"), review.get("kind")) if isinstance(review, Mapping) else (None, None)
    if found != (API_VERSION, "AdmissionReview"):
        raise Unreadable(f"this endpoint answers {API_VERSION} AdmissionReview, not {found[0]} {found[1]}")
    request = part(review, "request")
    if not isinstance(request.get("uid"), str) or not request["uid"]:
        raise Unreadable("request.uid is missing")
    return request


def _pod(request: Object, field: str) -> Object:
    pod = request.get(field)
    if not isinstance(pod, Mapping) or not isinstance(pod.get("spec"), Mapping):
        raise Unreadable(f"request.{field} is no pod")
    return pod


def _ephemeral(pod: Object) -> frozenset[str]:
    names = (one.get("name") for one in entries(part(pod, "spec"), EPHEMERAL))
    return frozenset(name for name in names if isinstance(name, str))
