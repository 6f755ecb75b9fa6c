"""Three-way apply of a child, as Metacontroller does it: what others set stays, what we no longer say goes."""

import json
from collections.abc import Mapping
from typing import Any

LAST_APPLIED = "metacontroller.k8s.io/last-applied-configuration"


def merge(observed: Mapping[str, Any], last: Mapping[str, Any], desired: Mapping[str, Any]) -> dict[str, Any]:
    """`observed` with the fields of `desired`, less those that only `last` had. Lists are replaced whole."""
    merged = {name: value for name, value in observed.items() if name not in last or name in desired}
    for name, value in desired.items():
        before, old = merged.get(name), last.get(name)
        if isinstance(value, dict) and isinstance(before, dict):
            merged[name] = merge(before, old if isinstance(old, dict) else {}, value)
        else:
            merged[name] = value
    return merged


def applied(observed: Mapping[str, Any], desired: Mapping[str, Any]) -> dict[str, Any]:
    """The object after applying `desired` to what is there; remembers `desired` in an annotation for the next time."""
    annotations = observed["metadata"].get("annotations") or {}
    desired = _without_note(desired)
    last = json.loads(annotations.get(LAST_APPLIED, "{}"))
    return remembering(merge(observed, last, desired), desired)


def remembering(obj: Mapping[str, Any], desired: Mapping[str, Any]) -> dict[str, Any]:
    """`obj` with the annotation that says what was applied."""
    note = {LAST_APPLIED: json.dumps(_without_note(desired), sort_keys=True, separators=(",", ":"))}
    metadata = obj["metadata"]
    return {**obj, "metadata": {**metadata, "annotations": {**(metadata.get("annotations") or {}), **note}}}


def _without_note(desired: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is desired, also of a stage that returns what it was shown: the note must not hold itself."""
    metadata = desired["metadata"]
    annotations = metadata.get("annotations") or {}
    if LAST_APPLIED not in annotations:
        return desired
    others = {name: value for name, value in annotations.items() if name != LAST_APPLIED}
    return {**desired, "metadata": {**metadata, "annotations": others}}
