"""The nodes of an ImagePrefetch, and which of them can pull now."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from hooks.conditions import holds
from hooks.facts import Observation
from hooks.placement import is_virtual
from hooks.prefetch_rules import Rule
from hooks.resources import NODE, POD
from kube.types import Object, entries, labels, metadata, part

_OWN_TAINTS = "node.kubernetes.io/"
_KEEPS_AWAY = frozenset({"NoSchedule", "NoExecute"})


@dataclass(frozen=True, slots=True)
class Node:
    """A node that is to have the images; `wait` is why it cannot pull now, and `served` whether its proxy is ready."""

    name: str
    wait: str = ""
    served: bool = False


def nodes(rule: Rule, seen: Observation) -> list[Node]:
    """The nodes by name: Linux, with the rule's labels, and without taints that it does not tolerate."""
    served = frozenset(_served(seen))
    found = [one for one in seen.related[NODE.group].values() if is_meant(one, rule)]
    return sorted((_node(one, served) for one in found), key=lambda one: one.name)


def is_meant(node: Object, rule: Rule) -> bool:
    """Whether a node is one of the rule's, as far as the node itself says."""
    worn = labels(node)
    if not rule.selector.items() <= worn.items() or worn.get("kubernetes.io/os", "linux") != "linux":
        return False
    return not is_virtual(worn) and _tolerated(entries(part(node, "spec"), "taints"), rule.tolerations)


def _node(node: Object, served: frozenset[str]) -> Node:
    name, wait = metadata(node)["name"], ""
    if metadata(node).get("deletionTimestamp"):
        wait = "the node is leaving"
    elif not holds(node, "Ready"):
        wait = "the node is not ready"
    elif part(node, "spec").get("unschedulable") is True:
        wait = "the node is cordoned"
    return Node(name, wait, name in served)


def _served(seen: Observation) -> Iterator[str]:
    """The nodes whose proxy is ready and stays."""
    for one in seen.related[POD.group].values():
        ours = metadata(one).get("namespace") == seen.settings.job.namespace
        if ours and holds(one, "Ready") and metadata(one).get("deletionTimestamp") is None:
            yield str(part(one, "spec").get("nodeName"))


def _tolerated(taints: Iterable[Object], tolerations: Iterable[Object]) -> bool:
    """Whether no taint keeps the rule's pods away for good; the cluster's own, such as not-ready, come and go."""
    listed = list(tolerations)
    lasting = (one for one in taints if not str(one.get("key", "")).startswith(_OWN_TAINTS))
    return all(any(_fits(one, taint) for one in listed) for taint in lasting if taint.get("effect") in _KEEPS_AWAY)


def _fits(toleration: Mapping[str, object], taint: Object) -> bool:
    """As Kubernetes compares them (core/v1, Toleration.ToleratesTaint)."""
    if toleration.get("effect") not in (None, "", taint.get("effect")):
        return False
    if toleration.get("key") and toleration.get("key") != taint.get("key"):
        return False
    if toleration.get("operator") == "Exists":
        return True
    return bool(toleration.get("key")) and (toleration.get("value") or "") == (taint.get("value") or "")
