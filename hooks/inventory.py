"""Stage 1: what a namespace's workloads use, and what is decided about each image.

The answer is a set without counts: pods that come and go under the same workloads do not change it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hooks import parts
from hooks.containers import (
    Obstacle,
    containers,
    image_volumes,
    is_proxy,
    obstacle,
    originals_of,
    parse,
    upstream,
)
from hooks.facts import Group, Groups, Observation, Settings
from hooks.messages import Desired, RelatedRule
from hooks.placement import windows
from hooks.policy import DEFAULT, NAMESPACE_LABEL, POD_LABEL, Decision, ImagePolicies, NamespacePolicies, Policies
from hooks.prefetch_rules import prefetches
from hooks.resources import CLUSTER_POLICY, DEPLOYMENT, POD, POLICY, SERVICE_ACCOUNT
from hooks.rules import CACHE, IGNORE
from hooks.terms import Terms
from hooks.waiting import DIRECT, PROXIED, Patience, waited_for
from hooks.workloads import TEMPLATES, Workload, secrets_of, workloads
from kube.types import API_VERSION, IMAGE_INVENTORY, Object, metadata

__all__ = ["CACHE", "IGNORE", "MAX_USERS", "customize", "sync"]

MAX_USERS = 20
HOOKS = {"app.kubernetes.io/name": "kube-image-keeper", "app.kubernetes.io/component": "hooks"}
"""The labels of the hooks' own Deployment."""
_MAX_IMAGE = 512
_MAX_MESSAGE = 300
_MAX_SECRETS = 100
_STRENGTHS = (POD_LABEL, "CachePolicy", NAMESPACE_LABEL, "ClusterCachePolicy", DEFAULT)


@dataclass(slots=True)
class _Use:
    """What was found so far about one image; grows while the workloads are read."""

    decision: Decision
    terms: Terms = field(default_factory=Terms)
    secrets: set[str] = field(default_factory=set)
    users: set[str] = field(default_factory=set)
    waiting: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Reading:
    """One look at a namespace: who decides there, the moment's patience, and what was found."""

    policies: NamespacePolicies
    settings: Settings
    patience: Patience
    uses: dict[str, _Use] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)
    decided: dict[tuple[int, str], Decision] = field(default_factory=dict)


def customize(parent: Object) -> list[RelatedRule]:
    """The namespace's pods, accounts, CachePolicies and templates that will make pods; all ClusterCachePolicies; the
    hooks' own Deployment."""
    namespace = metadata(parent)["name"]
    own = [RelatedRule(resource, namespace) for resource in (POD, SERVICE_ACCOUNT, *TEMPLATES, POLICY)]
    # While the hooks are away each event of a pod doubles the pause until a namespace is asked about again, up to 1,000
    # seconds. That they are available again is an event too, for all namespaces.
    return [*own, RelatedRule(CLUSTER_POLICY), RelatedRule(DEPLOYMENT, labels=HOOKS)]


def sync(parent: Object, _children: Groups, seen: Observation) -> Desired:
    """The namespace's ImageInventory, or its parts; one exists also where nothing is used: its absence is a fact.
    With it come the ImagePrefetches of its policies.

    A workload that cannot be read is named there, so that nothing expires for not being seen, and all others count.
    Raises Unreadable for a policy that no API server would have taken.
    """
    namespace = metadata(parent)["name"]
    policies = Policies.read(seen.related[CLUSTER_POLICY.group].values(), seen.related[POLICY.group].values())
    reading = _Reading(policies.of(parent), seen.settings, Patience(seen.now))
    for workload in workloads({**seen.related, DEPLOYMENT.group: _inside(namespace, seen.related[DEPLOYMENT.group])}):
        _read(workload, reading)
    split = parts.split([_entry(image, reading.uses[image]) for image in sorted(reading.uses)])
    count = {"parts": len(split)} if len(split) > 1 else {}
    unread = {"unreadable": _unreadable(reading.unread)} if reading.unread else {}
    inventories = [
        _inventory(parts.name_of(namespace, number), {"namespace": namespace, "images": images, **count, **unread})
        for number, images in enumerate(split, 1)
    ]
    return Desired(children=[*inventories, *_prefetches(namespace, seen)], resync_after=reading.patience.soonest)


def _inside(namespace: str, found: Group) -> Group:
    return {key: one for key, one in found.items() if metadata(one).get("namespace") == namespace}


def _prefetches(namespace: str, seen: Observation) -> Iterator[Object]:
    """What the policies want on nodes before a pod needs it."""
    cluster, own = (seen.related[kind.group].values() for kind in (CLUSTER_POLICY, POLICY))
    secrets = secrets_of(seen.related[SERVICE_ACCOUNT.group].values())
    return prefetches(namespace, seen.settings.job.namespace, cluster, own, secrets)


def _inventory(name: str, spec: Mapping[str, Any]) -> Object:
    meta = {"name": name, "labels": {"app.kubernetes.io/managed-by": "kube-image-keeper"}}
    return {"apiVersion": API_VERSION, "kind": IMAGE_INVENTORY, "metadata": meta, "spec": spec}


def _unreadable(unread: Mapping[str, str]) -> list[str]:
    return [f"{user}: {unread[user]}"[:_MAX_MESSAGE] for user in sorted(unread)][:MAX_USERS]


def _read(workload: Workload, reading: _Reading) -> None:
    if workload.unread:
        reading.unread.setdefault(workload.user, workload.unread)
    originals = originals_of(workload.pod)
    nowhere = windows(workload.spec)
    rules = _rules(workload, reading.policies)
    late = {image for image, since in waited_for(workload.pod).items() if reading.patience.is_over(since)}
    for container in _images(workload.spec):
        reference = upstream(container, originals, reading.settings.proxy)
        found: Obstacle | None
        if isinstance(reference, Obstacle):
            image, found = container["image"], reference
        else:
            image, found = str(reference.identity), nowhere or obstacle(reference, container, reading.settings)
        # What is served fits the schema by its own limits; for the rest, a pod could hold texts of any length.
        image = image[:_MAX_IMAGE]
        use = _add(reading.uses, image, _ignored(found) if found else _decided(rules, image, reading), workload)
        if container["image"] in late:
            use.waiting.add(_name(container["image"], reading.settings.proxy))


def _images(spec: Object) -> Iterator[Object]:
    for _, _, container in containers(spec):
        yield container
    yield from image_volumes(spec)


def _rules(workload: Workload, policies: NamespacePolicies) -> ImagePolicies:
    if workload.kind == POLICY.kind:
        return policies.ahead_of_need(workload.user.partition("/")[2])
    return policies.for_pod(workload.pod, workload.kind)


def _decided(rules: ImagePolicies, image: str, reading: _Reading) -> Decision:
    """The decision, made once for all pods that no rule tells apart (and so share their rules)."""
    key = (id(rules), image)
    if key not in reading.decided:
        reading.decided[key] = rules.decide(image)
    return reading.decided[key]


def _name(image: str, proxy: str) -> str:
    reference = parse(image)
    return PROXIED if not isinstance(reference, Obstacle) and is_proxy(reference.host, proxy) else DIRECT


def _ignored(why: Obstacle) -> Decision:
    return Decision(IGNORE, why.rule, why.message[:_MAX_MESSAGE])


def _add(uses: dict[str, _Use], image: str, decision: Decision, workload: Workload) -> _Use:
    use = uses.setdefault(image, _Use(decision))
    if decision is not use.decision:
        use.decision = min(use.decision, decision, key=_rank)
    if decision.caches:
        use.terms = use.terms.joined(decision.terms)
    use.secrets.update(workload.secrets)
    use.users.add(workload.user)
    return use


def _rank(decision: Decision) -> tuple[bool, int, str, str]:
    """Where pods differ the lowest wins: Cache before Ignore, then the stronger rule."""
    kind = decision.rule.partition("/")[0]
    strength = _STRENGTHS.index(kind) if kind in _STRENGTHS else len(_STRENGTHS)
    return (not decision.caches, strength, decision.rule, decision.message)


def _entry(image: str, use: _Use) -> Mapping[str, Any]:
    decision = use.decision
    return {
        "image": image,
        "decision": decision.action,
        "rule": decision.rule,
        **({"message": decision.message} if decision.message else {}),
        **dict(_kept(use.terms)),
        **({"waiting": sorted(use.waiting)} if use.waiting else {}),
        "pullSecrets": sorted(use.secrets)[:_MAX_SECRETS],
        "usedBy": sorted(use.users)[:MAX_USERS],
        "users": len(use.users),
    }


def _kept(terms: Terms) -> Iterable[tuple[str, Any]]:
    if terms.retention:
        yield "retention", terms.retention.duration
        yield "retentionRule", terms.retention.rule
    if terms.refresh:
        yield "refresh", {"mode": terms.refresh.mode, "interval": terms.refresh.interval, "rule": terms.refresh.rule}
    if terms.platforms is not None:
        yield "platforms", sorted(terms.platforms)
    if terms.referrers is not None:
        yield "referrers", terms.referrers
