"""A namespace's workloads among plain objects, as the stages read them."""

from collections import defaultdict
from collections.abc import Iterator, Mapping

from hooks.policy import Policies
from hooks.resources import CLUSTER_POLICY, POD, POLICY, SERVICE_ACCOUNT
from hooks.workloads import TEMPLATES, Workload, workloads
from kube.types import Key, Object, metadata

_RESOURCES = (POD, SERVICE_ACCOUNT, *TEMPLATES, POLICY)


def policies_of(objects: Mapping[Key, Object]) -> Policies:
    """The rules of all policies among the objects; raises Unreadable."""
    return Policies.read(_all(objects, CLUSTER_POLICY.kind), _all(objects, POLICY.kind))


def workloads_of(objects: Mapping[Key, Object]) -> Iterator[tuple[Object, Workload]]:
    """Every workload with its Namespace; images that CachePolicies list are of no workload."""
    inside: defaultdict[tuple[str, str], dict[str, Object]] = defaultdict(dict)
    for key, obj in objects.items():
        inside[key.kind, key.namespace][key.name] = obj
    for namespace in _all(objects, "Namespace"):
        name = str(metadata(namespace)["name"])
        for workload in workloads({one.group: inside[one.kind, name] for one in _RESOURCES}):
            if workload.kind != POLICY.kind:
                yield namespace, workload


def _all(objects: Mapping[Key, Object], kind: str) -> list[Object]:
    return [obj for key, obj in sorted(objects.items()) if key.kind == kind]
