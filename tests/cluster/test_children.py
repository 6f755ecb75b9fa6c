"""What the stages produce, put before a real API server: it is taken, and comes back as it was written.

A field that the server changes, or adds a default to, would be written again at each sync of a child that is updated in
place. Jobs are never updated, so there the server may add what its version knows of. So it may to prefetching's pods:
their containers are told apart by name, so what stands beside the stage's fields is left, and the scenarios of
prefetching count that such a pod is not written at rest.
"""

import json
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.rig.api import RESOURCES, Object
from tests.cluster.rig.control_plane import ControlPlane
from tests.hooks import golden

FOLDERS = list(golden.folders())
BY_SERVER = {"uid", "creationTimestamp", "generation", "managedFields", "resourceVersion"}


def made(folder: Path) -> list[Object]:
    answered = golden.read(folder / "desired.yaml")
    return list(answered.get("children") or answered.get("attachments") or [])


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: f"{folder.parent.name}/{folder.name}")
def test_the_server_takes_what_the_stages_make(installed: ControlPlane, folder: Path) -> None:
    for child in made(folder):
        stored = create(installed, child)
        meta = {name: value for name, value in stored["metadata"].items() if name not in BY_SERVER}
        assert meta == child["metadata"]
        changed, added = differences(body(child), body(stored), "object")
        assert changed == []
        assert added == [] or child["kind"] in ("Job", "Pod")


def body(obj: Object) -> Object:
    return {name: value for name, value in obj.items() if name not in ("apiVersion", "kind", "metadata", "status")}


def create(plane: ControlPlane, obj: Object) -> Object:
    prefix, _, resource = RESOURCES[obj["kind"]].rpartition("/")
    namespace = obj["metadata"].get("namespace")
    inside = f"namespaces/{namespace}/" if namespace else ""
    if namespace:
        named = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        plane.kubectl("apply", "-f", "-", stdin=json.dumps(named))
    return plane.api.request("POST", f"{prefix}/{inside}{resource}?dryRun=All&fieldValidation=Strict", obj)


def differences(written: Any, stored: Any, field: str = "spec") -> tuple[list[str], list[str]]:
    """The paths of fields that the server changed or dropped, and of those that it added."""
    changed: list[str] = []
    added: list[str] = []
    for name, one, two in _pairs(written, stored):
        if one is _ABSENT:
            added.append(f"{field}.{name}")
            continue
        inner = differences(one, two, f"{field}.{name}")
        changed += inner[0]
        added += inner[1]
    scalar = not isinstance(written, dict | list) or type(written) is not type(stored)
    return (changed + ([field] if scalar and written != stored else []), added)


_ABSENT = object()


def _pairs(written: Any, stored: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Each entry of two objects or lists beside its like."""
    if isinstance(written, dict) and isinstance(stored, dict):
        for name in sorted(written.keys() | stored.keys()):
            yield name, written.get(name, _ABSENT), stored.get(name, _ABSENT)
    elif isinstance(written, list) and isinstance(stored, list):
        for index, (one, two) in enumerate(zip_longest(written, stored, fillvalue=_ABSENT)):
            yield index, one, two
