"""Looks at pods themselves, on the API server: at all before images expire, at the proxies' when few are ready."""

from collections.abc import Iterable

from hooks.containers import Obstacle, containers, has_ended, image_volumes, originals_of, upstream
from hooks.facts import Known, Unknown
from hooks.fitness import lost_nodes, reach
from kube.client import Api, KubernetesError
from kube.paths import KINDS
from kube.types import Object, part


def look(api: Api, proxy: str) -> Known[frozenset[str]] | Unknown:
    """The identities of the images that pods use now, from one paged list; Unknown where any page is missing."""
    try:
        return Known(images_in_use(api.items(KINDS["Pod"].collection()), proxy))
    except KubernetesError as error:
        return Unknown(f"the pods could not be listed: {error}")


def lost(api: Api, namespace: str, proxies: str) -> Known[int] | Unknown:
    """How many nodes with a proxy are lost; `proxies` is the label selector of their pods in `namespace`."""
    try:
        pods = api.items(KINDS["Pod"].collection(namespace), {"labelSelector": proxies})
        return Known(lost_nodes(reach(pod) for pod in pods))
    except KubernetesError as error:
        return Unknown(f"the proxies' pods could not be listed: {error}")


def images_in_use(pods: Iterable[Object], proxy: str) -> frozenset[str]:
    """The identities of the images of all pods that have not ended, by the names they were written with."""
    found: set[str] = set()
    for pod in pods:
        if has_ended(pod):
            continue
        spec, originals = part(pod, "spec"), originals_of(pod)
        named = [container for _, _, container in containers(spec)]
        for container in (*named, *image_volumes(spec)):
            reference = upstream(container, originals, proxy)
            if not isinstance(reference, Obstacle):
                found.add(str(reference.identity))
    return frozenset(found)
