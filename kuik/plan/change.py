"""The policies and workloads that git holds, put over what a cluster has: as it is before a change, and after it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kube.schema import defaulted
from kube.types import CACHE_POLICY, CLUSTER_CACHE_POLICY, IMAGE_CACHE, Key, Object, labels, metadata, part
from kuik.driver.apply import merge
from kuik.local.workloads import DEFAULT_NAMESPACE
from kuik.plan.rollout import essence, is_whole, rolled_out

NAMESPACE = "Namespace"
_TAKEN_AWAY = (CLUSTER_CACHE_POLICY, CACHE_POLICY)
_POLICIES = (CLUSTER_CACHE_POLICY, CACHE_POLICY, IMAGE_CACHE, NAMESPACE)


@dataclass(frozen=True)
class Change:
    """The policies that come, go and differ, each as `Kind/name` or `Kind/namespace/name`."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()
    """Objects of other kinds, and patches of workloads, of whose effect nothing is said."""

    def document(self) -> dict[str, Any]:
        return {
            "added": list(self.added),
            "removed": list(self.removed),
            "changed": list(self.changed),
            "passedOver": list(self.passed_over),
        }


def keyed(policies: Iterable[Object]) -> dict[Key, Object]:
    """Policies by their keys, with the namespace and the defaults that they would get."""
    found: dict[Key, Object] = {}
    for policy in policies:
        one = _placed(policy)
        found[Key.of(one)] = one
    return found


def change(before: Sequence[Object], after: Sequence[Object]) -> Change:
    """What differs between two sets of policies."""
    old, new = keyed(before), keyed(after)
    others = sorted({_name(key) for every in (old, new) for key, one in every.items() if not _is_planned(one)})
    old = {key: one for key, one in old.items() if _is_planned(one)}
    new = {key: one for key, one in new.items() if _is_planned(one)}
    return Change(
        tuple(sorted(_name(key) for key in new.keys() - old.keys())),
        tuple(sorted(_name(key) for key in old.keys() - new.keys())),
        tuple(sorted(_name(key) for key in new.keys() & old.keys() if _said(old[key]) != _said(new[key]))),
        tuple(others),
    )


def over(cluster: Mapping[Key, Object], gone: Sequence[Object], policies: Sequence[Object]) -> dict[Key, Object]:
    """The cluster's objects with these policies, and without those of `gone` that are not among them."""
    given = {key: one for key, one in keyed(policies).items() if _is_planned(one)}
    away = {key: one for key, one in keyed(gone).items() if key not in given and _is_planned(one)}
    found = {key: obj for key, obj in cluster.items() if key not in away or key.kind not in _TAKEN_AWAY}
    for key, one in away.items():
        if is_whole(one):
            rolled_out(found, key, None)
    dropped = keyed(gone)
    for key, one in dropped.items():
        if key.kind == NAMESPACE and key in found:
            kept = {name: value for name, value in labels(found[key]).items() if name not in labels(one)}
            found[key] = _labelled(found[key], kept)
    for key, one in given.items():
        if key.kind == NAMESPACE and key in found:
            found[key] = _labelled(found[key], {**labels(found[key]), **labels(one)})
        elif key.kind == IMAGE_CACHE and key in found:
            # As kubectl apply leaves it: what git does not speak of stays as somebody else has set it.
            said = part(dropped.get(key, {}), "spec")
            found[key] = defaulted({**found[key], "spec": merge(part(found[key], "spec"), said, part(one, "spec"))})
        elif is_whole(one):
            rolled_out(found, key, one)
        elif key.kind == IMAGE_CACHE:
            found[key] = defaulted({**one, "spec": part(one, "spec")})
        else:
            found[key] = one
    return found


def becomes(cluster: Mapping[Key, Object], policies: Sequence[Object]) -> Change:
    """What differs once these policies are applied to a cluster of which nobody says what it had from git."""
    given = keyed(policies)
    after = over(cluster, (), policies)
    have = [cluster[key] for key in given if key in cluster and _is_planned(given[key])]
    found = change(have, [after[key] for key, one in given.items() if _is_planned(one)])
    return replace(found, passed_over=tuple(sorted(_name(key) for key, one in given.items() if not _is_planned(one))))


def strangers(cluster: Mapping[Key, Object], policies: Sequence[Object]) -> list[str]:
    """What of the policies is for a namespace that is neither in the cluster nor given with them."""
    given = keyed(policies)
    names = {key.name for key in (*cluster, *given) if key.kind == NAMESPACE}
    return sorted(_name(key) for key, one in given.items() if _is_planned(one) and key.namespace not in {"", *names})


def _is_planned(obj: Object) -> bool:
    """Whether a plan knows what the object changes."""
    return obj["kind"] in _POLICIES or is_whole(obj)


def _labelled(namespace: Object, worn: Mapping[str, Any]) -> Object:
    return {**namespace, "metadata": {**metadata(namespace), "labels": dict(worn)}}


def _placed(policy: Object) -> Object:
    if policy["kind"] in (CLUSTER_CACHE_POLICY, IMAGE_CACHE, NAMESPACE) or metadata(policy).get("namespace"):
        return policy
    return {**policy, "metadata": {**metadata(policy), "namespace": DEFAULT_NAMESPACE}}


def _said(policy: Object) -> tuple[Any, Any]:
    if is_whole(policy):
        return essence(policy), None
    if policy["kind"] == NAMESPACE:
        return None, dict(labels(policy))
    return part(defaulted(policy), "spec"), None


def _name(key: Key) -> str:
    return "/".join(part for part in (key.kind, key.namespace, key.name) if part)
