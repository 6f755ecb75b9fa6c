"""The images of a pod, or of a pod template, as the node proxy serves them."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hooks.containers import (
    MIRROR,
    ORIGINALS,
    Obstacle,
    containers,
    is_proxy,
    is_windows,
    namespace_opts_out,
    obstacle,
    opted,
    originals_of,
    parse,
)
from hooks.facts import PUBLIC, Absent, Access, Known, Settings, Unknown
from kube.types import Object, annotations, part
from registry.proxied import proxied
from registry.reference import Reference

REWRITTEN = frozenset({"containers", "initContainers"})
_UNKNOWN_ACCESS = Obstacle("AccessUnknown", "nobody could say whether the image is public, so it is pulled directly")
_PRIVATE = Obstacle("Private", "the image is not public")


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides about a pod's images. `namespace` is the pod's Namespace where it is known."""

    settings: Settings
    access: Callable[[Reference], Access]
    namespace: Object | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One container's new image, and the place of the container: `field` of the spec and `position` there."""

    field: str
    position: int
    container: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Left:
    """One container whose image stays as it is."""

    container: str
    image: str
    why: Obstacle


@dataclass(frozen=True, slots=True)
class Rewrite:
    """What becomes of a pod: the images to change, and those left alone with the reason."""

    changes: tuple[Change, ...]
    left: tuple[Left, ...]


def everything_public(_reference: Reference) -> Access:
    """The access fact as it would be if every image were public."""
    return Known(PUBLIC)


def references(pod: Object, rules: Rules) -> frozenset[Reference]:
    """The images whose access decides about this pod: what to ask for before it is rewritten."""
    asked: set[Reference] = set()

    def ask(reference: Reference) -> Access:
        asked.add(reference)
        return Absent()

    plan(pod, Rules(rules.settings, ask, rules.namespace))
    return frozenset(asked)


def plan(pod: Object, rules: Rules) -> Rewrite:
    """Decide about each container and init container of `{metadata, spec}`; ephemeral ones are left out."""
    changes: list[Change] = []
    left: list[Left] = []
    whole = _whole_pod(pod, rules)
    for field, position, container in containers(part(pod, "spec")):
        if field not in REWRITTEN:
            continue
        name, image = str(container.get("name", "")), container["image"]
        found = whole or _proxied(container, rules)
        if isinstance(found, Obstacle):
            left.append(Left(name, image, found))
        else:
            changes.append(Change(field, position, name, image, str(found)))
    return Rewrite(tuple(changes), tuple(left))


def rewrite_pod(pod: Object, rules: Rules) -> Object:
    """The pod (or template) as admission would make it; the one given stays as it is. Idempotent."""
    decided = plan(pod, rules)
    if not decided.changes:
        return pod
    spec = dict(part(pod, "spec"))
    for field in {change.field for change in decided.changes}:
        images = {change.position: change.after for change in decided.changes if change.field == field}
        spec[field] = [
            {**container, "image": images[position]} if position in images else container
            for position, container in enumerate(spec[field])
        ]
    meta = part(pod, "metadata")
    noted = {**annotations(pod), ORIGINALS: originals_text(pod, decided)}
    return {**pod, "metadata": {**meta, "annotations": noted}, "spec": spec}


def patch(pod: Object, decided: Rewrite) -> list[Mapping[str, Any]]:
    """The same change as JSON patch operations (RFC 6902); empty where nothing changes."""
    if not decided.changes:
        return []
    return [*_annotate(pod, originals_text(pod, decided)), *_replace(decided)]


def originals_text(pod: Object, decided: Rewrite) -> str:
    """The annotation's value: the originals of before, and those of the containers that change now."""
    before = {name: image for name, image in originals_of(pod).items() if isinstance(image, str)}
    now = {change.container: change.before for change in decided.changes}
    return json.dumps({**before, **now}, sort_keys=True, separators=(",", ":"))


def _annotate(pod: Object, text: str) -> Iterator[Mapping[str, Any]]:
    if not isinstance(pod.get("metadata"), Mapping):
        yield {"op": "add", "path": "/metadata", "value": {}}
    if not isinstance(part(pod, "metadata").get("annotations"), Mapping):
        yield {"op": "add", "path": "/metadata/annotations", "value": {}}
    yield {"op": "add", "path": f"/metadata/annotations/{ORIGINALS.replace('/', '~1')}", "value": text}


def _replace(decided: Rewrite) -> Iterator[Mapping[str, Any]]:
    for change in decided.changes:
        path = f"/spec/{change.field}/{change.position}/image"
        yield {"op": "replace", "path": path, "value": change.after}


def _whole_pod(pod: Object, rules: Rules) -> Obstacle | None:
    """Why none of the pod's images is rewritten, where that is so."""
    if MIRROR in annotations(pod):
        return Obstacle("MirrorPod", "a static pod's mirror in the API cannot change what the node runs")
    if is_windows(part(pod, "spec")):
        return Obstacle("Windows", "the pod asks for Windows nodes, where no proxy runs")
    said = opted(pod)
    if said is False:
        return Obstacle("PodLabel", "the pod's label opts out")
    if said is None and rules.namespace is not None and namespace_opts_out(rules.namespace):
        return Obstacle("NamespaceLabel", "the namespace's label opts out")
    return None


def _proxied(container: Object, rules: Rules) -> Reference | Obstacle:
    reference = parse(container["image"])
    if isinstance(reference, Obstacle):
        return reference
    if is_proxy(reference.host, rules.settings.proxy):
        return Obstacle("Rewritten", "the image is served by the proxy already")
    found = obstacle(reference, container, rules.settings)
    if found:
        return found
    access = rules.access(reference)
    if isinstance(access, Absent | Unknown):
        return _UNKNOWN_ACCESS
    return proxied(reference, rules.settings.proxy) if access.value == PUBLIC else _PRIVATE
