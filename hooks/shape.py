"""Whether workloads have the shape that the API gives them. Where one has not, images that it uses may be missed."""

from typing import Any

from hooks.containers import FIELDS
from kube.types import Object

Path = tuple[str, ...]


def misshapen(obj: Object, path: Path) -> str:
    """The first field that cannot be read of a workload whose pod's spec is at `path`; empty where all can.

    The workload's own spec has to be there: an API server that sends objects without it says nothing of images. What
    the API lets be absent further down is just not used.
    """
    inner: Any = obj
    for depth, name in enumerate(path):
        inner = inner.get(name)
        if inner is None and depth:
            return ""
        if not isinstance(inner, dict):
            return f"{'.'.join(path[: depth + 1])} is no object"
    if len(path) == 1 and not isinstance(inner.get("containers"), list):
        return f"{path[0]}.containers is no list"
    for field in FIELDS:
        why = _unread(inner.get(field), str)
        if why:
            return f"{'.'.join(path)}.{field}{why}"
    why = _unread(inner.get("volumes"), dict)
    return f"{'.'.join(path)}.volumes{why}" if why else ""


def _unread(listed: Any, kind: Any) -> str:
    """What cannot be read in a list of containers, whose images are texts, or of volumes, where they are objects."""
    if listed is None:
        return ""
    if not isinstance(listed, list):
        return " is no list"
    for at, entry in enumerate(listed):
        if not isinstance(entry, dict):
            return f"[{at}] is no object"
        image: Any = entry.get("image")
        if image is None:
            continue
        if not isinstance(image, kind):
            return f"[{at}].image is no {'text' if kind is str else 'object'}"
        if kind is dict and not isinstance(image.get("reference", ""), str):
            return f"[{at}].image.reference is no text"
    return ""
