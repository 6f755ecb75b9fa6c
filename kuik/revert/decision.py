"""Which pods still need the node proxy, and how each stops needing it. Pure: on objects that were read.

A pod whose container waits for its image, or that was not placed on a node yet, has its images put back: nothing of it
runs. Of any other pod kubelet would restart a container whose image changes, so only a new pod helps.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hooks.conditions import holds
from hooks.containers import MIRROR, ORIGINALS, containers, has_ended, is_proxy, parse
from hooks.workloads import top_controller
from kube.types import Object, annotations, metadata, owner, part
from kuik.rescue.decision import Rescue, World, back_to_originals
from registry.reference import Reference

PUT_BACK = "PutBack"
"""Its original images are put back: what runs is not touched."""
EVICT = "Evict"
"""Its controller makes another pod once it is evicted."""
ENDS = "Ends"
"""A Job's pod: it ends by itself, and an eviction would count as a failure."""
ALONE = "Alone"
"""Nobody would make it again."""
WRITTEN = "Written"
"""The proxy's name was written by hand, in the pod or its template: only who wrote it can change it."""

_ENDING = frozenset({"Job"})


@dataclass(frozen=True, slots=True)
class Holder:
    """A pod that still needs the proxy: its workload (`Deployment/web`), its containers, and what becomes of it.

    `change` puts back what can be put back, which with any other step than PUT_BACK is not all of it.
    """

    pod: Object
    workload: str
    containers: tuple[str, ...]
    step: str
    ready: bool
    change: Rescue | None = None

    @property
    def namespace(self) -> str:
        return str(metadata(self.pod).get("namespace", ""))

    @property
    def name(self) -> str:
        return str(metadata(self.pod).get("name", ""))

    @property
    def uid(self) -> str:
        return str(metadata(self.pod).get("uid", ""))


def holder(pod: Object, world: World) -> Holder | None:
    """What a pod's need of the proxy is, None where it has none: it is another's, has ended, or is on its way out."""
    proxied = _proxied(pod, world.settings.proxy)
    if not proxied or has_ended(pod) or metadata(pod).get("deletionTimestamp") is not None:
        return None
    change = back_to_originals(pod, world)
    whole = change is not None and {one.container for one in change.changes} >= set(proxied)
    step = PUT_BACK if whole else _step(pod)
    return Holder(pod, top_controller(pod, ()), proxied, step, holds(pod, "Ready"), change)


def by_workload(holders: Iterable[Holder]) -> Mapping[tuple[str, str], Sequence[Holder]]:
    """Those to evict, by namespace and workload; of each the pods that are not ready first, since they cost nothing."""
    found: dict[tuple[str, str], list[Holder]] = {}
    for one in sorted(holders, key=lambda one: (one.namespace, one.workload, one.ready, one.name)):
        if one.step == EVICT:
            found.setdefault((one.namespace, one.workload), []).append(one)
    return found


def ready_pods(pods: Iterable[Object], workload: str) -> int:
    """How many of these pods belong to the workload, are Ready, and stay."""
    stay = (pod for pod in pods if metadata(pod).get("deletionTimestamp") is None and holds(pod, "Ready"))
    return sum(top_controller(pod, ()) == workload for pod in stay)


def _step(pod: Object) -> str:
    if ORIGINALS not in annotations(pod):
        return WRITTEN
    controller = owner(pod)
    if controller is None or MIRROR in annotations(pod):
        return ALONE
    return ENDS if controller.get("kind") in _ENDING else EVICT


def _proxied(pod: Object, proxy: str) -> tuple[str, ...]:
    """The names of the containers that cannot be started again without the proxy; ephemeral ones never are."""
    found = []
    for field, _, container in containers(part(pod, "spec")):
        reference = parse(container["image"])
        if field != "ephemeralContainers" and isinstance(reference, Reference) and is_proxy(reference.host, proxy):
            found.append(str(container.get("name", "")))
    return tuple(found)
