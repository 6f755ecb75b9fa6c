"""Where pods are inside of manifests: a Pod is one itself, a workload holds a template."""

from collections.abc import Callable, Mapping
from typing import Any

from kube.types import Object

_TEMPLATE = ("spec", "template")
PATHS: Mapping[str, tuple[str, ...]] = {
    "Pod": (),
    "PodTemplate": ("template",),
    "Deployment": _TEMPLATE,
    "StatefulSet": _TEMPLATE,
    "DaemonSet": _TEMPLATE,
    "ReplicaSet": _TEMPLATE,
    "ReplicationController": _TEMPLATE,
    "Job": _TEMPLATE,
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}


Change = Callable[[Object, Object], Object]
"""Makes another pod or template of one; it is told the manifest that this is in, or is, as well."""


def with_pods(manifest: Object, change: Change) -> Object:
    """The manifest with `change` applied to its pod or pod template, a List's items included; others as they are."""
    items = manifest.get("items")
    if str(manifest.get("kind", "")).endswith("List") and isinstance(items, list):
        inherited = str(manifest["kind"]).removesuffix("List")
        return {**manifest, "items": [_item(item, inherited, change) for item in items]}
    path = PATHS.get(str(manifest.get("kind", "")))
    return manifest if path is None else _at(manifest, path, lambda pod: change(pod, manifest))


def _item(item: Any, inherited: str, change: Change) -> Any:
    """An item of a list; the items of a typed list, such as a PodList, may leave out what they are."""
    if not isinstance(item, dict):
        return item
    if "kind" in item or not inherited:
        return with_pods(item, change)
    changed = with_pods({**item, "kind": inherited}, change)
    return {name: value for name, value in changed.items() if name != "kind"}


def _at(obj: Object, path: tuple[str, ...], change: Callable[[Object], Object]) -> Object:
    if not path:
        return change(obj)
    inner = obj.get(path[0])
    return {**obj, path[0]: _at(inner, path[1:], change)} if isinstance(inner, dict) else obj
