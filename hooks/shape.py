"""Whether workloads have the shape that the API gives them. Where one has not, images that it uses may be missed."""

from collections.abc import Iterator, Mapping
from typing import Any

from hooks.containers import FIELDS
from kube.types import Object

Path = tuple[str, ...]


def misshapen(obj: Object, path: Path) -> str:
    """The first field that cannot be read of a workload whose pod's spec is at `path`; empty where all can.

    The workload's own spec has to be there: an API server that sends objects without it says nothing of images. What
    the API lets be absent further down is just not used.
    """
    return next(_troubles(obj, path), "")


def _troubles(obj: Object, path: Path) -> Iterator[str]:
    inner: Any = obj
    for depth, name in enumerate(path):
        inner = inner.get(name)
        if inner is None and depth:
            return
        if not isinstance(inner, Mapping):
            yield f"{'.'.join(path[: depth + 1])} is no object"
            return
    where = ".".join(path)
    if len(path) == 1 and not isinstance(inner.get("containers"), list):
        yield f"{where}.containers is no list"
    for field in FIELDS:
        yield from _unread(inner.get(field), f"{where}.{field}", str)
    yield from _unread(inner.get("volumes"), f"{where}.volumes", Mapping)


def _unread(listed: Any, where: str, kind: type) -> Iterator[str]:
    """What cannot be read in a list of containers, whose images are texts, or of volumes, where they are objects."""
    if listed is None:
        return
    if not isinstance(listed, list):
        yield f"{where} is no list"
        return
    for at, entry in enumerate(listed):
        if not isinstance(entry, Mapping):
            yield f"{where}[{at}] is no object"
            continue
        image = entry.get("image")
        if image is not None and not isinstance(image, kind):
            yield f"{where}[{at}].image is no {'text' if kind is str else 'object'}"
        elif isinstance(image, Mapping) and not isinstance(image.get("reference", ""), str):
            yield f"{where}[{at}].image.reference is no text"
