"""Looks at the API server itself: at all that uses images before any expires, at the proxies' pods when few are ready.

Inventories may be late, or wrong, for as long as stage 1 fails. So what the templates and CachePolicies of namespaces
name is looked at like the pods: a CronJob that runs once a month has none.
"""

from collections.abc import Callable, Iterable

from hooks.containers import Obstacle, containers, has_ended, image_volumes, originals_of, upstream
from hooks.facts import Known, Unknown
from hooks.fitness import lost_nodes, reach
from hooks.resources import POD, POLICY
from hooks.workloads import TEMPLATES, template
from kube.client import Api, KubernetesError
from kube.paths import KINDS
from kube.types import Object, entries, part, texts
from registry.reference import InvalidReference, Reference


def look(api: Api, proxy: str) -> Known[frozenset[str]] | Unknown:
    """The identities of the images that are used now, from paged lists; Unknown where any page is missing."""
    try:
        return Known(all_in_use(lambda kind: api.items(KINDS[kind].collection()), proxy))
    except KubernetesError as error:
        return Unknown(f"the pods and what makes them could not be listed: {error}")


def all_in_use(listed: Callable[[str], Iterable[Object]], proxy: str) -> frozenset[str]:
    """The identities of the images of all pods, templates and CachePolicies; `listed` gives the objects of a kind.

    Pods come last: what is made from a template meanwhile is seen there.
    """
    specs = [part(one, "spec") for one in listed(POLICY.kind)]
    policies = (image for spec in specs for one in (spec, *entries(spec, "prefetch")) for image in texts(one, "images"))
    wished = frozenset(found for image in policies if (found := _identity(image)))
    templates = (template(kind, obj) for kind in TEMPLATES for obj in listed(kind.kind))
    return wished | images_in_use(templates, proxy) | images_in_use(listed(POD.kind), proxy)


def lost(api: Api, namespace: str, proxies: str) -> Known[int] | Unknown:
    """How many nodes with a proxy are lost; `proxies` is the label selector of their pods in `namespace`."""
    try:
        pods = api.items(KINDS["Pod"].collection(namespace), {"labelSelector": proxies})
        return Known(lost_nodes(reach(pod) for pod in pods))
    except KubernetesError as error:
        return Unknown(f"the proxies' pods could not be listed: {error}")


def _identity(image: str) -> str:
    try:
        return str(Reference.parse(image).identity)
    except InvalidReference:
        return ""


def images_in_use(pods: Iterable[Object], proxy: str) -> frozenset[str]:
    """The identities of the images of all pods, or templates, that have not ended, by the names they were written
    with."""
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
