"""The policies that git holds, put over what a cluster has: as it is before a change, and as it would be after."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kube.schema import defaulted
from kube.types import CACHE_POLICY, CLUSTER_CACHE_POLICY, IMAGE_CACHE, Key, Object, labels, metadata
from kuik.local.workloads import DEFAULT_NAMESPACE

NAMESPACE = "Namespace"
PLANNED = (CLUSTER_CACHE_POLICY, CACHE_POLICY, IMAGE_CACHE, NAMESPACE)
"""The kinds of which a plan knows what they change."""


@dataclass(frozen=True)
class Change:
    """The policies that come, go and differ, each as `Kind/name` or `Kind/namespace/name`."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()
    """Objects of other kinds, of whose effect nothing is said."""

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
    others = sorted({_name(key) for key in old.keys() | new.keys() if key.kind not in PLANNED})
    old = {key: one for key, one in old.items() if key.kind in PLANNED}
    new = {key: one for key, one in new.items() if key.kind in PLANNED}
    return Change(
        tuple(sorted(_name(key) for key in new.keys() - old.keys())),
        tuple(sorted(_name(key) for key in old.keys() - new.keys())),
        tuple(sorted(_name(key) for key in new.keys() & old.keys() if _said(old[key]) != _said(new[key]))),
        tuple(others),
    )


def over(cluster: Mapping[Key, Object], gone: Sequence[Object], policies: Sequence[Object]) -> dict[Key, Object]:
    """The cluster's objects with these policies, and without those of `gone` that are not among them."""
    given = {key: one for key, one in keyed(policies).items() if key.kind in PLANNED}
    away = {key for key in keyed(gone) if key.kind in PLANNED and key.kind not in (NAMESPACE, IMAGE_CACHE)}
    found = {key: obj for key, obj in cluster.items() if key not in away - given.keys()}
    unlabelled = {key: one for key, one in keyed(gone).items() if key.kind == NAMESPACE}
    for key, one in unlabelled.items():
        if key in found:
            kept = {name: value for name, value in labels(found[key]).items() if name not in labels(one)}
            found[key] = _labelled(found[key], kept)
    for key, one in given.items():
        if key.kind == NAMESPACE and key in found:
            found[key] = _labelled(found[key], {**labels(found[key]), **labels(one)})
        elif key.kind == IMAGE_CACHE and key in found:
            found[key] = {**found[key], "spec": one["spec"]}
        else:
            found[key] = one
    return found


def _labelled(namespace: Object, worn: Mapping[str, Any]) -> Object:
    return {**namespace, "metadata": {**metadata(namespace), "labels": dict(worn)}}


def _placed(policy: Object) -> Object:
    if policy["kind"] == IMAGE_CACHE:
        return defaulted({**policy, "spec": policy.get("spec") or {}})
    if policy["kind"] in (CLUSTER_CACHE_POLICY, NAMESPACE) or metadata(policy).get("namespace"):
        return policy
    return {**policy, "metadata": {**metadata(policy), "namespace": DEFAULT_NAMESPACE}}


def _said(policy: Object) -> tuple[Any, Any]:
    return policy.get("spec"), labels(policy) if policy["kind"] == NAMESPACE else None


def _name(key: Key) -> str:
    return "/".join(part for part in (key.kind, key.namespace, key.name) if part)
