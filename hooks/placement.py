"""Pods that are bound to nodes without a proxy: Windows, and nodes that are no machines, such as virtual-kubelet's."""

from hooks.containers import Obstacle
from kube.types import Object, entries, labels, part, texts

_OS = ("kubernetes.io/os", "beta.kubernetes.io/os")
_WINDOWS = Obstacle("Windows", "the pod asks for Windows nodes, where no proxy runs")
_VIRTUAL = Obstacle("VirtualNode", "the pod asks for a virtual node, where no proxy runs")
_VIRTUAL_LABELS = {"type": "virtual-kubelet", "eks.amazonaws.com/compute-type": "fargate"}
_VIRTUAL_NODES = ("virtual-kubelet", "virtual-node-", "fargate-")
_VIRTUAL_TAINT = "virtual-kubelet.io/"
_FARGATE = "eks.amazonaws.com/fargate-profile"


def unreached(pod: Object) -> Obstacle | None:
    """Why no proxy serves the pod, as far as the pod itself says where it runs."""
    spec = part(pod, "spec")
    return windows(spec) or (_VIRTUAL if _is_virtual(pod, spec) else None)


def windows(spec: Object) -> Obstacle | None:
    """Why no proxy serves a pod with this spec, where it asks for Windows nodes: nor is its image worth a copy."""
    return _WINDOWS if _is_windows(spec) else None


def has_no_place(node: Object) -> bool:
    """Whether no proxy can run on a node: Windows, or no machine."""
    said = labels(node)
    virtual = any(said.get(label) == value for label, value in _VIRTUAL_LABELS.items())
    return virtual or any(said.get(label) == "windows" for label in _OS)


def is_virtual(worn: Object) -> bool:
    """Whether a node with these labels is no machine."""
    return any(worn.get(label) == value for label, value in _VIRTUAL_LABELS.items())


def _is_windows(spec: Object) -> bool:
    selector = part(spec, "nodeSelector")
    named = [part(spec, "os").get("name"), *(selector.get(label) for label in _OS)]
    return "windows" in named or _required_os(spec) == {"windows"}


def _required_os(spec: Object) -> set[str]:
    """The systems of which the node affinity demands one; empty where it demands none."""
    required = part(part(part(spec, "affinity"), "nodeAffinity"), "requiredDuringSchedulingIgnoredDuringExecution")
    found: set[str] = set()
    for term in entries(required, "nodeSelectorTerms"):
        demands = [one for one in entries(term, "matchExpressions") if one.get("key") in _OS]
        named = {value for one in demands if one.get("operator") == "In" for value in texts(one, "values")}
        if not named:
            return set()  # the terms are alternatives, and this one lets any system in
        found |= named
    return found


def _is_virtual(pod: Object, spec: Object) -> bool:
    selector, node = part(spec, "nodeSelector"), spec.get("nodeName")
    return (
        any(selector.get(label) == value for label, value in _VIRTUAL_LABELS.items())
        or (isinstance(node, str) and node.startswith(_VIRTUAL_NODES))
        or any(str(one.get("key", "")).startswith(_VIRTUAL_TAINT) for one in entries(spec, "tolerations"))
        or _FARGATE in labels(pod)
    )
