"""The containers of pods and pod templates, and which of their images kuik can serve at all."""

import ipaddress
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from hooks.facts import Settings
from kube.types import CACHE_LABEL, Object, annotations, entries, labels, part
from registry.proxied import original, proxied
from registry.reference import InvalidReference, Reference

FIELDS = ("containers", "initContainers", "ephemeralContainers")
ORIGINALS = "kuik.dev/original-images"
"""The annotation on a rewritten pod: a JSON object of container names and the images they were written with."""

V1_LABEL = "kube-image-keeper.enix.io/image-caching-policy"
MIRROR = "kubernetes.io/config.mirror"
_MAX_ANNOTATION = 256 * 1024


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why an image is left alone: a word for the rule, and a sentence for a person."""

    rule: str
    message: str


@lru_cache(maxsize=16384)
def parse(image: str) -> Reference | Obstacle:
    """The image as people write it, read once however many containers name it."""
    try:
        return Reference.parse(image)
    except InvalidReference as error:
        return Obstacle("InvalidReference", str(error)[:300])


def containers(spec: Object) -> Iterator[tuple[str, int, Object]]:
    """Every container of a pod's spec with its field and its position there."""
    for field in FIELDS:
        listed = spec.get(field)
        for position, container in enumerate(listed if isinstance(listed, list) else ()):
            if isinstance(container, dict) and isinstance(container.get("image"), str):
                yield field, position, container


def image_volumes(spec: Object) -> Iterator[Object]:
    """The volumes that are images, each in a container's form: its name, image and imagePullPolicy."""
    for volume in entries(spec, "volumes"):
        image = part(volume, "image")
        if isinstance(image.get("reference"), str) and image["reference"]:
            policy = image.get("pullPolicy")
            yield {"name": str(volume.get("name", "")), "image": image["reference"], "imagePullPolicy": policy}


def upstream(container: Object, originals: Object, proxy: str) -> Reference | Obstacle:
    """The image that a container stands for: its own, or, where it was rewritten, the one it was written with."""
    found = parse(container["image"])
    if isinstance(found, Obstacle) or not is_proxy(found.host, proxy):
        return found
    try:
        return original(found)
    except InvalidReference as error:
        written = originals.get(container.get("name", ""))
        return parse(written) if isinstance(written, str) else Obstacle("InvalidReference", str(error)[:300])


def originals_of(pod: Object) -> Object:
    """What the pod's annotation says its images were; empty where there is none that can be read."""
    text = annotations(pod).get(ORIGINALS)
    if not isinstance(text, str) or len(text) > _MAX_ANNOTATION:
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def obstacle(reference: Reference, container: Object, settings: Settings) -> Obstacle | None:
    """Why kuik cannot serve this container's image, where it cannot."""
    if container.get("imagePullPolicy") == "Never":
        return Obstacle("PullNever", "imagePullPolicy is Never: the node has the image or the pod fails")
    host = reference.host
    if is_loopback(host) and host not in settings.plain_http:
        return Obstacle("LoopbackRegistry", f"{host} is another registry on each node")
    if host.startswith("["):
        return Obstacle("IPv6Literal", f"{host} cannot be part of an image path; give the registry a name")
    try:
        proxied(reference, settings.proxy)
    except InvalidReference:
        return Obstacle("NameTooLong", "with its registry in front, the repository is longer than 255 characters")
    return None


def has_ended(pod: Object) -> bool:
    """Whether all of the pod's containers have ended for good: it uses its images no more."""
    return part(pod, "status").get("phase") in ("Succeeded", "Failed")


def opted(pod: Object) -> bool | None:
    """What the pod's labels say: True to cache, False to leave alone, None where they say nothing."""
    found = labels(pod)
    said = _truth(found.get(CACHE_LABEL))
    return False if said is None and found.get(V1_LABEL) == "ignore" else said


def namespace_says(namespace: Object) -> bool | None:
    """What the namespace's label says of pods that say nothing themselves: True, False, or None for nothing."""
    return _truth(labels(namespace).get(CACHE_LABEL))


def namespace_opts_out(namespace: Object) -> bool:
    """Whether the namespace's label leaves its pods alone, unless a pod's own label says otherwise."""
    return namespace_says(namespace) is False


@lru_cache(maxsize=1024)
def is_loopback(host: str) -> bool:
    """Whether a registry host (`name[:port]`) is the machine itself, whichever machine that is."""
    name = _without_port(host)
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def is_proxy(host: str, proxy: str) -> bool:
    """Whether an image's host is the node proxy, by the name it is given in images or by another loopback name."""
    if host == proxy:
        return True
    port = proxy.rpartition(":")[2]
    return is_loopback(proxy) and host.rpartition(":")[2] == port and is_loopback(host)


def _truth(value: object) -> bool | None:
    return True if value == "true" else False if value == "false" else None


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
