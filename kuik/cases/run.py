"""One case: a cluster's objects, and what is expected of their images."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kube.types import Object
from kuik.local.documents import ManifestError, documents
from kuik.local.manifests import parse
from kuik.local.workloads import cluster_objects
from kuik.plan.outcome import CannotTell, outcome

_FIELDS = {"reason": str, "objects": list, "expect": dict, "retention": dict, "refresh": dict}
SETTINGS = ("retention", "refresh")


@dataclass(frozen=True)
class Case:
    """`expect` maps images to Cache or Ignore; `settings` what an inventory says of some of them, by setting."""

    reason: str
    objects: tuple[Object, ...]
    expect: Mapping[str, str]
    settings: Mapping[str, Mapping[str, Any]]


def read(text: str, origin: str) -> list[Case]:
    """The cases in a cases.yaml; raises ManifestError with the case and the field."""
    found = list(documents(text, origin))
    listed = found[0] if len(found) == 1 else None
    if not isinstance(listed, list):
        raise ManifestError(f"{origin}: not a list of cases")
    return [_case(one, f"{origin}: case {number}") for number, one in enumerate(listed, 1)]


def _case(one: Any, origin: str) -> Case:
    if not isinstance(one, dict):
        raise ManifestError(f"{origin}: not an object")
    for name, kind in _FIELDS.items():
        if name in one and not isinstance(one[name], kind):
            raise ManifestError(f"{origin}: {name} is no {'text' if kind is str else kind.__name__}")
    for name in ("reason", "objects", "expect"):
        if name not in one:
            raise ManifestError(f"{origin}: {name} is missing")
    unknown = sorted(map(str, set(one) - set(_FIELDS)))
    if unknown:
        raise ManifestError(f"{origin}: unknown field {', '.join(unknown)}; known are {', '.join(_FIELDS)}")
    return Case(one["reason"], tuple(one["objects"]), one["expect"], {name: one.get(name, {}) for name in SETTINGS})


def failures(case: Case, policies: Iterable[Object]) -> list[str]:
    """What is not as the case expects, a sentence each; none where all is. Raises ManifestError."""
    from kuik.local.documents import written

    there = [one for one in policies if one["kind"] != "Deployment"]
    objects = parse(written(case.objects), case.reason)
    if not all(isinstance(one, dict) and one.get("kind") for one in case.objects):
        raise ManifestError(f"{case.reason}: objects: one is no Kubernetes object")
    try:
        found = outcome(cluster_objects([*there, *objects]).values())
    except CannotTell as error:
        return [str(error)]
    decided: dict[str, str] = {}
    for (_, image), entry in found.decided.items():  # of namespaces that differ, Cache wins
        decided[image] = min(str(entry["decision"]), decided.get(image, "Ignore"))
    for image in found.kept:  # a cluster policy's own images are in no inventory
        decided.setdefault(image, "Cache")
    told = list(_differences("decision", case.expect, decided))
    for name, expected in case.settings.items():
        says = {image: entry[name] for (_, image), entry in found.decided.items() if name in entry}
        told += _differences(name, expected, says)
    return told


def _differences(what: str, expected: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    return [
        f"{what} of {image}: expected {expected.get(image, 'none')}, found {found.get(image, 'none')}"
        for image in sorted(expected.keys() | found.keys())
        if expected.get(image) != found.get(image)
    ]
