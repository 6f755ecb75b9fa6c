"""Reads what a rescue is decided by, and patches pod by pod."""

import base64
import binascii
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from hooks.directory import PROXIES
from hooks.messages import Unreadable
from hooks.own_secrets import CAPABILITY
from hooks.policy import Policies
from hooks.rewrite import Change
from kube.client import JSON_PATCH, Api, KubernetesError
from kube.paths import KINDS
from kube.types import Object, metadata, part
from kuik.rescue.decision import Images, Rescue, World, proxy_nodes, rescue

MOST = 500
"""Pods patched in one run: those that wait still are found by the next."""

DONE, WOULD, CHANGED, FAILED = "Done", "Would", "ChangedMeanwhile", "Failed"
_MEANWHILE = frozenset({404, 409, 422})
_TRIES = 2
_PODS = KINDS["Pod"]

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one container. `result` is Done, Would, ChangedMeanwhile or Failed."""

    namespace: str
    pod: str
    direction: str
    change: Change
    result: str
    message: str = ""


def read_world(api: Api, start: World, namespace: str, say: Say) -> tuple[World, bool]:
    """The world as the cluster is now, and whether all of it could be read; raises KubernetesError.

    What only the way to the proxy needs may be missing: originals are given back all the same.
    """
    proxies = api.items(_PODS.collection(namespace), {"labelSelector": PROXIES})
    world = replace(start, nodes=proxy_nodes(proxies))
    try:
        named = {str(metadata(one)["name"]): one for one in api.items(KINDS["Namespace"].collection())}
        cluster, own = (list(api.items(KINDS[kind].collection())) for kind in ("ClusterCachePolicy", "CachePolicy"))
        images = Images.of(api.items(KINDS["CachedImage"].collection()))
        key = _key(api, namespace)
        return replace(world, namespaces=named, policies=Policies.read(cluster, own), images=images, key=key), True
    except (KubernetesError, Unreadable) as error:
        say(f"nothing is pointed to the proxy: {error}")
        return world, False


def pods_of(api: Api, namespaces: Iterable[str]) -> Iterator[Object]:
    """The pods of these namespaces; raises KubernetesError."""
    for namespace in dict.fromkeys(namespaces):
        yield from api.items(_PODS.collection(namespace))


Decide = Callable[[Object, World], Rescue | None]


def perform(api: Api, found: Rescue, world: World, *, dry_run: bool, decide: Decide = rescue) -> list[Outcome]:
    """Patch one pod; one that changed meanwhile is read and decided about once more."""
    if dry_run:
        return outcomes(found, WOULD)
    wanted: Rescue | None = found
    path = _PODS.path(_name(found.pod), _namespace(found.pod))
    for _ in range(_TRIES):
        if wanted is None:
            break
        try:
            api.patch(path, wanted.patch(), JSON_PATCH)
            return outcomes(wanted, DONE)
        except KubernetesError as error:
            if error.status not in _MEANWHILE:
                return outcomes(wanted, FAILED, str(error))
            refused = str(error)
        try:
            pod = api.get(path)
        except KubernetesError as error:
            return outcomes(wanted, CHANGED if error.status == 404 else FAILED, str(error))
        if metadata(pod).get("resourceVersion") == metadata(wanted.pod).get("resourceVersion"):
            return outcomes(wanted, FAILED, refused)
        wanted = decide(pod, world)
    return outcomes(found, CHANGED)


def outcomes(found: Rescue, result: str, message: str = "") -> list[Outcome]:
    """The same result for each container of a pod."""
    namespace, name = _namespace(found.pod), _name(found.pod)
    return [Outcome(namespace, name, found.direction, change, result, message) for change in found.changes]


def _key(api: Api, namespace: str) -> bytes:
    """The key of capabilities; empty where there is none yet, so that private images stay as they are."""
    secret = api.find(KINDS["Secret"].path(CAPABILITY, namespace)) or {}
    try:
        return base64.b64decode(str(part(secret, "data").get("current", "")), validate=True).strip()
    except (binascii.Error, ValueError):
        return b""


def _name(pod: Object) -> str:
    return str(metadata(pod).get("name"))


def _namespace(pod: Object) -> str:
    return str(metadata(pod).get("namespace"))
