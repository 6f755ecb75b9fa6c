"""What the stages need to know of a cluster, as objects that can be kept in a file: no environment, no arguments, no
secrets of pods are among it."""

from collections.abc import Iterable, Mapping
from typing import Any

from hooks.containers import FIELDS, MIRROR, ORIGINALS
from kube.types import GROUP, Key, Object, annotations, entries, labels, metadata, part

KINDS = (
    "Namespace",
    "Node",
    "ServiceAccount",
    "Pod",
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "CronJob",
    "ClusterCachePolicy",
    "CachePolicy",
    "ImageCache",
    "CachedImage",
)
"""The kinds that a plan reads, in the order in which they are listed."""

_TEMPLATES: Mapping[str, tuple[str, ...]] = {
    "Pod": (),
    "Deployment": ("template",),
    "StatefulSet": ("template",),
    "DaemonSet": ("template",),
    "CronJob": ("jobTemplate", "spec", "template"),
}
_SPEC = ("serviceAccountName", "imagePullSecrets", "os", "nodeSelector", "nodeName", "tolerations", "affinity")
_CONTAINER = ("name", "image", "imagePullPolicy")
_META = ("name", "namespace", "labels", "creationTimestamp", "ownerReferences")
_NOTED = (ORIGINALS, MIRROR)
_NODE = ("taints", "unschedulable")
_STATUS = ("phase", "digest", "size", "platforms", "access", "conditions", "copiedAs", "replicas", "copy", "reason")


def slim(obj: Object) -> dict[str, Any]:
    """The object with what the stages read of it, and nothing else."""
    kind = str(obj["kind"])
    found: dict[str, Any] = {"apiVersion": obj["apiVersion"], "kind": kind, "metadata": _meta(obj)}
    if kind in _TEMPLATES:
        spec = part(obj, "spec")
        found["spec"] = _pod_spec(spec) if kind == "Pod" else _nested(spec, _TEMPLATES[kind])
    elif kind == "Node":
        found["spec"] = {name: part(obj, "spec")[name] for name in _NODE if name in part(obj, "spec")}
    elif kind == "ServiceAccount":
        found["imagePullSecrets"] = [{"name": one.get("name")} for one in entries(obj, "imagePullSecrets")]
    elif kind != "Namespace":
        found["spec"] = dict(part(obj, "spec"))
    if kind == "CachedImage":
        found["metadata"].pop("ownerReferences", None)  # of another ImageCache than the one in memory
        found["status"] = {name: value for name, value in part(obj, "status").items() if name in _STATUS}
    elif kind == "ImageCache":
        found["status"] = {name: value for name, value in part(obj, "status").items() if name == "conditions"}
    elif kind in ("Pod", "Namespace"):
        found["status"] = {name: value for name, value in part(obj, "status").items() if name == "phase"}
    return found


def keyed(objects: Iterable[Object]) -> dict[Key, Object]:
    """Objects by their keys, the last of a key counts."""
    return {Key.of(obj): obj for obj in objects}


def _meta(obj: Object) -> dict[str, Any]:
    meta = {name: value for name, value in metadata(obj).items() if name in _META}
    told = obj["kind"] in ("ImageCache", "CachedImage")  # what keepers say of their volumes
    noted = {
        name: value
        for name, value in annotations(obj).items()
        if name in _NOTED or (told and name.startswith(f"volume.{GROUP}/"))
    }
    ends = metadata(obj).get("deletionTimestamp") if obj["kind"] == "Namespace" else None
    return {**meta, **({"annotations": noted} if noted else {}), **({"deletionTimestamp": ends} if ends else {})}


def _nested(spec: Object, path: tuple[str, ...]) -> dict[str, Any]:
    inner = part(spec, path[0])
    if len(path) > 1:
        return {path[0]: _nested(inner, path[1:])}
    meta = {"labels": dict(labels(inner))}
    return {path[0]: {"metadata": meta, "spec": _pod_spec(part(inner, "spec"))}}


def _pod_spec(spec: Object) -> dict[str, Any]:
    found: dict[str, Any] = {name: spec[name] for name in _SPEC if name in spec}
    for field in FIELDS:
        if isinstance(spec.get(field), list):
            found[field] = [{name: one[name] for name in _CONTAINER if name in one} for one in entries(spec, field)]
    volumes = [{"name": one.get("name"), "image": one["image"]} for one in entries(spec, "volumes") if "image" in one]
    return {**found, **({"volumes": volumes} if volumes else {})}
