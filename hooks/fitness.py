"""The breaker of admission: whether the node proxies are fit to be pointed to, told from their DaemonSet and pods."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hooks.conditions import holds
from hooks.containers import Obstacle
from kube.types import Object, metadata, part

UNKNOWN_AFTER = 60.0
"""Seconds without a word of the API server after which nothing is known of the proxies."""
KEPT = 120.0
"""Seconds for which the last answer holds while nothing is known."""
FIT_FOR = 10.0
"""Seconds for which the proxies must be fit again before pods are pointed to them again."""

_ABSENT = Obstacle("ProxiesUnfit", "the node proxies are not installed")
_UNKNOWN = Obstacle("ProxiesUnfit", "nothing is known of the node proxies")


def unfit(daemon_sets: Sequence[Object], lost: int = 0) -> Obstacle | None:
    """Why the proxies are not fit: of those that can be reached more than one in ten is not ready, or there are none.

    `lost` is the number of nodes where no pod starts any more: nobody misses a proxy there.
    """
    if not daemon_sets:
        return _ABSENT
    states = [part(one, "status") for one in daemon_sets]
    desired = max(0, sum(_count(state, "desiredNumberScheduled") for state in states) - lost)
    ready = sum(min(_count(state, "numberReady"), _count(state, "desiredNumberScheduled")) for state in states)
    if desired > 0 and (desired - ready) * 10 <= desired:
        return None
    besides = f"; {lost} more are on nodes that cannot be reached" if lost else ""
    return Obstacle("ProxiesUnfit", f"{ready} of {desired} node proxies are ready{besides}")


def reach(pod: Object) -> Object:
    """Of a proxy's pod, its node and whether that node's kubelet still answers for it.

    The pod alone tells. Where a node is lost, the control plane takes the pod's Ready away, while kubelet's own last
    word, ContainersReady, stays; a pod made since then was never taken up. A kubelet that answers says the two alike,
    and takes a pod up before it starts any other that is newer.
    """
    spec, status = part(pod, "spec"), part(pod, "status")
    untouched = not status.get("startTime") and not status.get("containerStatuses")
    # With readiness gates somebody else may have taken Ready away.
    overruled = holds(pod, "ContainersReady") and not holds(pod, "Ready") and not spec.get("readinessGates")
    kept: dict[str, Any] = {"metadata": {"name": metadata(pod).get("name")}, "node": str(spec.get("nodeName") or "")}
    return {**kept, "lost": untouched or overruled}


def lost_nodes(reaches: Iterable[Object]) -> int:
    """How many nodes have proxies of which kubelet answers for none; `reaches` are what `reach` says of their pods."""
    nodes: dict[str, bool] = {}
    for one in reaches:
        if one["node"]:
            nodes[one["node"]] = nodes.get(one["node"], True) and bool(one["lost"])
    return sum(nodes.values())


def _count(status: Object, field: str) -> int:
    value = status.get(field)
    return value if isinstance(value, int) and value > 0 else 0


@dataclass(frozen=True, slots=True)
class Fitness:
    """What is believed of the proxies. `why` is None while pods may be pointed to them; `since` is when they became fit
    again and are watched still."""

    why: Obstacle | None = _UNKNOWN
    since: float | None = None
    heard: bool = False

    def after(self, daemon_sets: Sequence[Object] | None, quiet: float, now: float, lost: int = 0) -> "Fitness":
        """What to believe after a look: the DaemonSets (None: never read), and how long they may be out of date.

        `quiet` and `now` are in seconds; `lost` is as in `unfit`. What is bad is believed at once, what is good again
        after a while; only the first look of a process is believed either way.
        """
        if daemon_sets is None or quiet > UNKNOWN_AFTER + KEPT:
            return Fitness(_UNKNOWN, None, self.heard)
        if quiet > UNKNOWN_AFTER:
            return Fitness(self.why, None, self.heard)
        why = unfit(daemon_sets, lost)
        if why is not None or self.why is None or not self.heard:
            return Fitness(why, None, True)
        since = now if self.since is None else self.since
        return Fitness(None if now - since >= FIT_FOR else self.why, since, True)
