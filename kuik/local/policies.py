"""The policies among manifests: refused by field as an API server refuses them, and what they say of pods."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from hooks.containers import Obstacle
from hooks.messages import Unreadable
from hooks.policy import Policies, left_alone
from hooks.rules import IGNORE
from hooks.workloads import owner_kind
from kube.schema import defaulted, validate
from kube.types import API_VERSION, CACHE_POLICY, CLUSTER_CACHE_POLICY, Object, entries, metadata, owner, part
from kuik.local.documents import ManifestError, plain
from kuik.local.workloads import DEFAULT_NAMESPACE
from registry.reference import Reference

KINDS = frozenset({CLUSTER_CACHE_POLICY, CACHE_POLICY})
_OF_CACHE = ("retention", "refresh", "platforms", "referrers")
_MAX_SAID = 3


def checked(policy: Object, origin: str) -> Object:
    """The policy with its defaults; raises ManifestError, whose message begins with `origin`, for what is not valid."""
    problems = [str(one) for one in validate(policy)] or list(_problems(policy))
    if problems:
        raise ManifestError(f"{origin}: {'; '.join(problems[:_MAX_SAID])}")
    return defaulted(policy)


def _problems(policy: Object) -> Iterator[str]:
    """What no schema can say."""
    for at, rule in enumerate(entries(part(policy, "spec"), "rules")):
        if rule.get("action") == IGNORE and any(name in rule for name in _OF_CACHE):
            yield f"spec.rules.{at}: action {IGNORE} caches nothing: leave out {', '.join(_OF_CACHE)}"
    try:
        Policies.read([policy] if policy["kind"] == CLUSTER_CACHE_POLICY else [], [])
        Policies.read([], [policy] if policy["kind"] == CACHE_POLICY else [])
    except Unreadable as error:
        yield str(error)


@dataclass(frozen=True)
class Rulings:
    """Who decides about the pods among some manifests: the policies and the namespaces that are with them."""

    policies: Policies
    namespaces: Mapping[str, Object]

    @classmethod
    def read(cls, found: Iterable[Any], origin: str) -> Self:
        """From documents, whose Lists are looked into; raises ManifestError, naming `origin`, for a bad policy."""
        policies: dict[str, list[Object]] = {kind: [] for kind in KINDS}
        namespaces: dict[str, Object] = {}
        for one in _flat(found):
            kind, name = one.get("kind"), metadata(one).get("name")
            if kind in KINDS and one.get("apiVersion") == API_VERSION:
                policy = checked(plain(one, origin), f"{origin}: {kind} {name}")
                policies[str(kind)].append(_placed(policy))
            elif kind == "Namespace" and isinstance(name, str):
                namespaces[name] = one
        return cls(Policies.read(policies[CLUSTER_CACHE_POLICY], policies[CACHE_POLICY]), namespaces)

    def about(self, pod: Object, manifest: Object) -> tuple[Object, Callable[[Reference], Obstacle | None]]:
        """The Namespace of a pod, or of a template in a manifest, and what is said of its images."""
        name = _namespace(manifest)
        namespace = self.namespaces.get(name, {"metadata": {"name": name}})
        reference = owner(manifest)
        kind = str((reference or manifest).get("kind"))
        if manifest.get("kind") == "Pod":
            kind = owner_kind(pod)
        return namespace, left_alone(self.policies.of(namespace), pod, kind)


def _flat(found: Iterable[Any]) -> Iterator[Object]:
    for one in found:
        if not isinstance(one, dict):
            continue
        if str(one.get("kind", "")).endswith("List"):
            kind = str(one["kind"]).removesuffix("List")
            typed = {"apiVersion": one.get("apiVersion"), "kind": kind} if kind else {}
            yield from _flat({**typed, **item} for item in entries(one, "items"))
        else:
            yield one


def _namespace(manifest: Object) -> str:
    return str(metadata(manifest).get("namespace") or DEFAULT_NAMESPACE)


def _placed(policy: Object) -> Object:
    """A CachePolicy that names no namespace is applied to the one that pods without one come to."""
    if policy["kind"] != CACHE_POLICY:
        return policy
    return {**policy, "metadata": {**policy["metadata"], "namespace": _namespace(policy)}}
