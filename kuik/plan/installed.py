"""Where kuik and Metacontroller are in a cluster: pods there are left alone, whatever the namespaces are called."""

from collections.abc import Iterable
from dataclasses import replace

from hooks.facts import Settings
from kube.types import Object, entries, labels, metadata, part

_HOOKS = {"app.kubernetes.io/name": "kube-image-keeper", "app.kubernetes.io/component": "hooks"}
_RUNS = frozenset({"StatefulSet", "Deployment"})


def settings_of(objects: Iterable[Object], usual: Settings | None = None) -> Settings:
    """The usual settings with the namespaces in which the two are found."""
    found = usual or Settings()
    for obj in objects:
        if obj["kind"] not in _RUNS:
            continue
        namespace = str(metadata(obj).get("namespace", ""))
        if _HOOKS.items() <= labels(obj).items():
            found = replace(found, job=replace(found.job, namespace=namespace))
        elif _runs_metacontroller(obj):
            found = replace(found, metacontroller_namespace=namespace)
    return found


def _runs_metacontroller(obj: Object) -> bool:
    spec = part(part(part(obj, "spec"), "template"), "spec")
    images = (str(one.get("image", "")).partition("@")[0] for one in entries(spec, "containers"))
    return any(image.rpartition("/")[2].partition(":")[0] == "metacontroller" for image in images)
