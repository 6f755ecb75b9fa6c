"""The images of a pod, or of a pod template, as the node proxy serves them."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hooks.containers import (
    MIRROR,
    ORIGINALS,
    Obstacle,
    containers,
    is_proxy,
    namespace_opts_out,
    obstacle,
    opted,
    originals_of,
    parse,
)
from hooks.facts import PUBLIC, Absent, Access, Known, Proof, Secret, Settings, Unknown
from hooks.placement import unreached
from kube.types import Object, annotations, entries, metadata, part
from registry.capability import capability
from registry.proxied import proxied
from registry.reference import InvalidReference, Reference

REWRITTEN = frozenset({"containers", "initContainers"})
EPHEMERAL = "ephemeralContainers"
_LONGEST_IMAGE = 1024
ACCESS_UNKNOWN = "AccessUnknown"
_UNKNOWN_ACCESS = Obstacle(ACCESS_UNKNOWN, "nobody could say whether the image is public, so it is pulled directly")
_PRIVATE = Obstacle("PrivateNoProof", "the image is not public, and none of the pod's secrets is proven to open it yet")
_TOO_LONG = Obstacle("InvalidReference", f"the image has more than {_LONGEST_IMAGE} characters")
_VOLUME = Obstacle("ImageVolume", "image volumes are pulled directly")


def _no_proof(_reference: Reference) -> Proof | None:
    return None


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides about a pod's images. `namespace` is the pod's Namespace where it is known.

    `policy` says of an image why it is not cached; without it the labels of pod and namespace do. `proof` is who may
    pull an image as far as that was proven, `access` whether it is public where nothing was. `key` makes capabilities;
    without one, private images are left alone. `nothing` is why none of the pod's images is rewritten at all.
    """

    settings: Settings
    access: Callable[[Reference], Access]
    namespace: Object | None = None
    policy: Callable[[Reference], Obstacle | None] | None = None
    proof: Callable[[Reference], Proof | None] = _no_proof
    key: bytes = field(default=b"", repr=False)
    nothing: Obstacle | None = None


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


def references(pod: Object, rules: Rules, only: Callable[[str, Object], bool] | None = None) -> frozenset[Reference]:
    """The images whose access decides about this pod: what to ask for before it is rewritten."""
    asked: set[Reference] = set()

    def ask(reference: Reference) -> Access:
        asked.add(reference)
        return Absent()

    plan(pod, replace(rules, access=ask), only)
    return frozenset(asked)


def created(field: str, _container: Object) -> bool:
    """The containers of a new pod or a template, which has no ephemeral ones yet."""
    return field in REWRITTEN


def plan(pod: Object, rules: Rules, only: Callable[[str, Object], bool] | None = None) -> Rewrite:
    """Decide about the containers of a pod or template that `only` takes by their field, else all `created`."""
    chosen = only or created
    changes: list[Change] = []
    left: list[Left] = []
    spec = part(pod, "spec")
    whole, decided = _whole_pod(pod, rules), _Decider(rules, _secrets(spec, rules.namespace))
    for where, position, container in containers(spec):
        if not chosen(where, container):
            continue
        name, image = str(container.get("name", "")), container["image"]
        found = whole or decided.proxied(container)
        if isinstance(found, Obstacle):
            left.append(Left(name, image, found))
        else:
            changes.append(Change(where, position, name, image, str(found)))
    if only is None:
        left += [Left(f"volume {name}", image, whole or _VOLUME) for name, image in _image_volumes(spec)]
    return Rewrite(tuple(changes), tuple(left))


def rewrite_pod(pod: Object, rules: Rules) -> Object:
    """The pod (or template) as admission would make it; the one given stays as it is. Idempotent."""
    decided = plan(pod, rules)
    if not decided.changes:
        return pod
    spec = dict(part(pod, "spec"))
    for changed in {change.field for change in decided.changes}:
        images = {change.position: change.after for change in decided.changes if change.field == changed}
        spec[changed] = [
            {**container, "image": images[position]} if position in images else container
            for position, container in enumerate(spec[changed])
        ]
    meta = part(pod, "metadata")
    noted = {**annotations(pod), ORIGINALS: originals_text(pod, decided)}
    return {**pod, "metadata": {**meta, "annotations": noted}, "spec": spec}


def patch(pod: Object, decided: Rewrite) -> list[Mapping[str, Any]]:
    """The same change as JSON patch operations (RFC 6902); empty where nothing changes."""
    if not decided.changes:
        return []
    return [*annotate(pod, {ORIGINALS: originals_text(pod, decided)}), *replace_images(decided)]


def originals_text(pod: Object, decided: Rewrite) -> str:
    """The annotation's value: the originals of before, and those of the containers that change now."""
    before = {name: image for name, image in originals_of(pod).items() if isinstance(image, str)}
    now = {change.container: change.before for change in decided.changes}
    return json.dumps({**before, **now}, sort_keys=True, separators=(",", ":"))


def annotate(pod: Object, noted: Mapping[str, str]) -> Iterator[Mapping[str, Any]]:
    """The operations that set these annotations."""
    if not isinstance(pod.get("metadata"), Mapping):
        yield {"op": "add", "path": "/metadata", "value": {}}
    if not isinstance(part(pod, "metadata").get("annotations"), Mapping):
        yield {"op": "add", "path": "/metadata/annotations", "value": {}}
    for name, text in noted.items():
        yield {"op": "add", "path": f"/metadata/annotations/{name.replace('/', '~1')}", "value": text}


def replace_images(decided: Rewrite) -> Iterator[Mapping[str, Any]]:
    """The operations that change the images, and nothing beside them."""
    for change in decided.changes:
        path = f"/spec/{change.field}/{change.position}/image"
        yield {"op": "replace", "path": path, "value": change.after}


def _whole_pod(pod: Object, rules: Rules) -> Obstacle | None:
    """Why none of the pod's images is rewritten, where that is so."""
    if MIRROR in annotations(pod):
        return Obstacle("MirrorPod", "a static pod's mirror in the API cannot change what the node runs")
    return unreached(pod) or (_labelled(pod, rules) if rules.policy is None else None)


def _labelled(pod: Object, rules: Rules) -> Obstacle | None:
    said = opted(pod)
    if said is False:
        return Obstacle("PodLabel", "the pod's label opts out")
    if said is None and rules.namespace is not None and namespace_opts_out(rules.namespace):
        return Obstacle("NamespaceLabel", "the namespace's label opts out")
    return None


@dataclass(frozen=True, slots=True)
class _Decider:
    """Decides about one pod's images; `secrets` are those that it pulls with."""

    rules: Rules
    secrets: frozenset[Secret]

    def proxied(self, container: Object) -> Reference | Obstacle:
        if len(container["image"]) > _LONGEST_IMAGE:
            return _TOO_LONG
        reference = parse(container["image"])
        if isinstance(reference, Obstacle):
            return reference
        if is_proxy(reference.host, self.rules.settings.proxy):
            return Obstacle("Rewritten", "the image is served by the proxy already")
        found = obstacle(reference, container, self.rules.settings)
        if not found and self.rules.policy is not None:
            found = self.rules.policy(reference)
        return found or self.rules.nothing or self._opened(reference)

    def _opened(self, reference: Reference) -> Reference | Obstacle:
        """The image's name by who may pull it: what was proven, else what is known of it now."""
        proof = self.rules.proof(reference)
        if proof is None:
            access = self.rules.access(reference)
            if isinstance(access, Absent | Unknown):
                return _UNKNOWN_ACCESS
            proof = Proof(access.value)
        if proof.visibility == PUBLIC:
            return proxied(reference, self.rules.settings.proxy)
        if not self.rules.key or not self.secrets & proof.secrets:
            return _PRIVATE
        try:
            return proxied(reference, self.rules.settings.proxy, capability(self.rules.key, reference))
        except InvalidReference as error:
            return Obstacle("NameTooLong", str(error)[:300])


def _secrets(spec: Object, namespace: Object | None) -> frozenset[Secret]:
    where = metadata(namespace).get("name") if namespace is not None else None
    names = (entry.get("name") for entry in entries(spec, "imagePullSecrets"))
    return (
        frozenset((where, name) for name in names if isinstance(name, str)) if isinstance(where, str) else frozenset()
    )


def _image_volumes(spec: Object) -> Iterator[tuple[str, str]]:
    for volume in entries(spec, "volumes"):
        image = part(volume, "image").get("reference")
        if isinstance(image, str):
            yield str(volume.get("name", "")), image
