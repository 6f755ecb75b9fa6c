"""What the running workloads of a cluster need of its cache, and what stands in the way without a byte being read.

Pure, on API objects. Which images a pod may have from the cache is decided where admission decides it, what the cache
says it has by `kuik check`, which nodes have a proxy by `kuik doctor`.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from hooks.conditions import condition
from hooks.containers import containers, has_ended, is_proxy, parse
from hooks.facts import Settings
from hooks.risk import DAMAGED, reason
from hooks.workloads import top_controller
from kube.types import Object, metadata, part
from kuik.check.copies import InCluster, Lack
from kuik.check.outage import NO_CACHE, in_outage
from kuik.check.start import lack_of
from kuik.doctor.nodes import name_of, node_of, without_proxy
from kuik.plan.rewriting import Container
from registry.manifest import Platform
from registry.proxied import original, split_private
from registry.reference import InvalidReference, Reference

NO_PROXY = "NoProxy"
UNVERIFIED = "Unverified"
UNREADABLE = "PrivateUnread"
_NEVER_PULLED = "PullNever"
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Seen:
    """One look at a cluster at `now`; `namespace` is kuik's own. `objects` are what policies and workloads are made of,
    pods among them; `proxies` and `daemon_sets` are the node proxies' own."""

    now: datetime
    objects: Sequence[Object]
    images: Sequence[Object]
    nodes: Sequence[Object] = ()
    proxies: Sequence[Object] = ()
    daemon_sets: Sequence[Object] = ()
    cache: Object = field(default_factory=lambda: NO_CACHE)
    namespace: str = "kuik-system"

    def kind(self, kind: str) -> list[Object]:
        """The objects of a kind."""
        return [one for one in self.objects if one.get("kind") == kind]


@dataclass(frozen=True, slots=True)
class Need:
    """A container that runs, or will by its schedule.

    `lack` is why it could not be pulled again; `doubt` is what speaks against a cache that says it has it. `platforms`
    are those of its nodes, none where nobody knows; `read` tells whether the image is there to be read, with
    `capability` where it is private.
    """

    workload: str
    container: str
    image: str
    lack: Lack | None = None
    doubt: Lack | None = None
    platforms: frozenset[Platform] = frozenset()
    read: bool = False
    capability: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Needs:
    """`apart` are the workloads of namespaces whose pods kuik leaves alone: their images must be on the nodes."""

    of: tuple[Need, ...]
    apart: frozenset[str] = frozenset()


def needs(seen: Seen, namespaces: frozenset[str] = frozenset()) -> Needs:
    """What is needed, in the order of workloads; of these namespaces, or of all but those that admission leaves out."""
    settings = Settings()
    running = _running(seen)
    decide = _Decide(seen, running, settings)
    found, apart = [], set()
    for one in in_outage(seen.objects, seen.cache, seen.images, settings):
        namespace = one.workload.partition("/")[0]
        if one.workload not in running or (namespaces and namespace not in namespaces):
            continue
        if not namespaces and namespace in ("kube-system", seen.namespace, settings.metacontroller_namespace):
            apart.add(one.workload)
        else:
            found.append(decide.need(one))
    return Needs(tuple(sorted(found, key=lambda one: (one.workload, one.container, one.image))), frozenset(apart))


def _running(seen: Seen) -> Mapping[str, list[Object]]:
    """By workload its pods; a CronJob's may be none at the moment."""
    crons: defaultdict[str, set[str]] = defaultdict(set)
    found: dict[str, list[Object]] = {}
    for cron in seen.kind("CronJob"):
        if part(cron, "spec").get("suspend") is not True:
            crons[str(metadata(cron).get("namespace"))].add(name_of(cron))
            found[f"{metadata(cron).get('namespace')}/CronJob/{name_of(cron)}"] = []
    for pod in seen.kind("Pod"):
        namespace = str(metadata(pod).get("namespace"))
        if not has_ended(pod):
            found.setdefault(f"{namespace}/{top_controller(pod, crons[namespace])}", []).append(pod)
    return found


class _Decide:
    def __init__(self, seen: Seen, running: Mapping[str, list[Object]], settings: Settings) -> None:
        self._copies = InCluster(tuple(seen.images), seen.now)
        self._running = running
        self._platforms = {name_of(node): _platform(node) for node in seen.nodes}
        self._without = _without(seen)
        self._capabilities = dict(_capabilities(seen.kind("Pod"), settings.proxy))
        self._images = {str(part(one, "spec").get("image")): one for one in seen.images}

    def need(self, one: Container) -> Need:
        pods = self._running[one.workload]
        if one.why == _NEVER_PULLED:
            return Need(one.workload, one.name, one.image)
        nodes = sorted({node for pod in pods if (node := node_of(pod))})
        platforms = frozenset(found for node in nodes if (found := self._platforms.get(node)))
        lack = lack_of(one, self._copies, platforms) or self._unserved(nodes)
        if lack:
            return Need(one.workload, one.name, one.image, _at_once(lack, pods, one.name), platforms=platforms)
        image = self._images.get(one.image, {})
        capability = self._capability(one.image, image)
        doubt = _doubt(image) if capability is not None else Lack(UNREADABLE, "no pod shows what opens it")
        readable = capability is not None
        return Need(one.workload, one.name, one.image, None, doubt, platforms, readable, capability or "")

    def _unserved(self, nodes: Sequence[str]) -> Lack | None:
        bad = [f"{node}: {self._without[node]}" for node in nodes if node in self._without]
        if not bad:
            return None
        more = f"; and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
        return Lack(NO_PROXY, f"no node proxy is ready on {'; '.join(bad[:_NAMED])}{more}")

    def _capability(self, image: str, cached: Object) -> str | None:
        """What opens the image, empty for a public one; None where nobody shows it."""
        shown = self._capabilities.get(Reference.parse(image).name)
        if shown is not None:
            return shown
        return "" if part(part(cached, "status"), "access").get("visibility", "Public") == "Public" else None


def _without(seen: Seen) -> Mapping[str, str]:
    """The nodes without a proxy that is ready, and why."""
    daemon_set = seen.daemon_sets[0] if seen.daemon_sets else {}
    found = {name_of(node): without_proxy(node, seen.proxies, daemon_set) for node in seen.nodes}
    return {name: why for name, why in found.items() if why}


def _platform(node: Object) -> Platform | None:
    said = part(part(node, "status"), "nodeInfo")
    try:
        return Platform.parse(f"{said.get('operatingSystem') or 'linux'}/{said.get('architecture', '')}")
    except ValueError:
        return None


def _capabilities(pods: Sequence[Object], proxy: str) -> Iterator[tuple[str, str]]:
    """By repository, what pods show to get a private image of it."""
    for pod in pods:
        for _, _, container in containers(part(pod, "spec")):
            found = parse(container["image"])
            if not isinstance(found, Reference) or not is_proxy(found.host, proxy):
                continue
            try:
                capability, name = split_private(found.repository)[0], original(found).name
            except InvalidReference:
                continue
            if capability:
                yield name, capability


def _doubt(image: Object) -> Lack | None:
    """What a keeper found, or that none has hashed it yet."""
    why, message = reason(image) if image else ("", "")
    if why == DAMAGED:
        return Lack(DAMAGED, message)
    proven = condition(image, "Verified")
    if image and (proven is None or proven.get("status") != "True"):
        return Lack(UNVERIFIED, "its bytes were not hashed yet since they were copied")
    return None


def _at_once(lack: Lack, pods: Sequence[Object], container: str) -> Lack:
    """Where the image is asked for at each start, not even a node that has it can start the container again."""
    each = (one for pod in pods for _, _, one in containers(part(pod, "spec")) if one.get("name") == container)
    if any(one.get("imagePullPolicy") == "Always" for one in each):
        return Lack(lack.reason, f"{lack.message}; with imagePullPolicy Always it does not even restart")
    return lack
