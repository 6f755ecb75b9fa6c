"""Whether every container among manifests can be read: one that cannot is none that could start."""

from collections.abc import Iterable, Iterator
from typing import Any

from hooks.containers import FIELDS
from hooks.shape import misshapen
from kube.types import Object, entries, metadata
from kuik.local.templates import PATHS


def unreadable(manifests: Iterable[Object]) -> Iterator[str]:
    """What no API server would take of the workloads, each by its kind, name and field."""
    for obj in manifests:
        path = PATHS.get(str(obj["kind"]))
        why = "" if path is None else misshapen(obj, (*path, "spec")) or _nameless(obj, (*path, "spec"))
        if why:
            named = metadata(obj).get("name") or metadata(obj).get("generateName")
            yield f"{obj['kind']} {named}: {why}"


def _nameless(obj: Object, path: tuple[str, ...]) -> str:
    """The first container without an image."""
    inner: Any = obj
    for name in path:
        inner = inner.get(name) or {}
    for field in FIELDS:
        for at, container in enumerate(entries(inner, field)):
            if not container.get("image"):
                return f"{'.'.join(path)}.{field}[{at}].image is missing"
    return ""
