"""What all inventories say together: which images are used, by whom and how, and which namespaces cannot be told."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from hooks.facts import Group, Secret
from hooks.inventory import CACHE, IGNORE, MAX_USERS
from hooks.parts import all_there, namespace_of
from hooks.rules import images_of, rules_of
from hooks.terms import REFRESH_MODES, Refresh, Retention, Terms
from hooks.waiting import DIRECT, PROXIED
from kube.duration import parse_duration
from kube.types import CLUSTER_CACHE_POLICY, Object, ends, entries, metadata, part, texts
from registry.reference import InvalidReference, Reference

_OF_TERMS = frozenset({"retentionRule", "refresh", "platforms", "referrers"})


@dataclass(slots=True)
class Use:
    """Who uses an image in the cluster, and on which terms. `users` holds names such as `team-a/Deployment/web`."""

    secrets: set[Secret] = field(default_factory=set)
    users: set[str] = field(default_factory=set)
    total: int = 0
    terms: Terms = field(default_factory=Terms)

    @property
    def first_users(self) -> list[str]:
        return sorted(self.users)[:MAX_USERS]


@dataclass(frozen=True, slots=True, order=True)
class Wait:
    """An image that pods of a namespace have waited for in vain, and the name they have for it: Direct or Proxied."""

    namespace: str
    image: str
    name: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Every image to cache with its use. `gaps` are the namespaces whose use is not fully known, and why.

    `ignored` are images that are used and left alone; `unreadable` are names in policies that no image can have.
    """

    uses: Mapping[str, Use]
    gaps: Mapping[str, str]
    waits: frozenset[Wait] = frozenset()
    ignored: frozenset[str] = frozenset()
    unreadable: tuple[str, ...] = ()


@dataclass(slots=True)
class _Found:
    """What was read so far."""

    uses: dict[str, Use] = field(default_factory=dict)
    waits: set[Wait] = field(default_factory=set)
    ignored: set[str] = field(default_factory=set)


def usage(namespaces: Group, inventories: Group, policies: Group) -> Usage:
    """Read the inventories, and the images that ClusterCachePolicies want ahead of need.

    What cannot be understood becomes a gap; what can still counts as use. Raises Unreadable for a policy that no API
    server would have taken.
    """
    found = _Found()
    told: dict[str, list[Object]] = {}
    for inventory in inventories.values():
        told.setdefault(namespace_of(inventory), []).append(inventory)
    gaps = {name: "has no inventory" for name in _living(namespaces) if name not in told}
    if not namespaces:  # every cluster has some
        gaps["the cluster"] = "shows no namespace"
    for name, parts in told.items():
        # All are read, whatever is wrong with one of them: what is named there is used.
        reasons = [why for one in parts if (why := _read(one, found))]
        if reasons or not all_there(parts):
            gaps[name] = reasons[0] if reasons else "has an inventory of which not all parts are there"
    unreadable = tuple(sorted(_ahead_of_need(policies, found.uses)))
    return Usage(found.uses, gaps, frozenset(found.waits), frozenset(found.ignored - found.uses.keys()), unreadable)


def may_be_whole(namespaces: Group, inventories: Group) -> bool:
    """Whether a glance finds no gap: then reading all may still find one."""
    told = {namespace_of(one) for one in inventories.values()}
    return told.issuperset(_living(namespaces)) and not any(
        part(one, "spec").get("unreadable") for one in inventories.values()
    )


def _living(namespaces: Group) -> Iterator[str]:
    """Those that have an inventory, or will: one that ends gets none any more, and its pods have the last look."""
    return (metadata(ns)["name"] for ns in namespaces.values() if not ends(ns))


def _ahead_of_need(policies: Group, uses: dict[str, Use]) -> Iterator[str]:
    """Add the images that policies list; yields what is no image's name."""
    for policy in policies.values():
        rules_of(policy, CLUSTER_CACHE_POLICY)  # where stage 1 cannot read it, the inventories are old: do nothing
        user = f"{CLUSTER_CACHE_POLICY}/{metadata(policy)['name']}"
        for image in images_of(policy, CLUSTER_CACHE_POLICY):
            try:
                use = uses.setdefault(str(Reference.parse(image).identity), Use())
            except InvalidReference:
                yield f"{user}: {image}"
                continue
            if user not in use.users:
                use.users.add(user)
                use.total += 1


def _read(inventory: Object, found: _Found) -> str:
    """Add what an inventory says; why it may not be all that is used, empty where it is."""
    spec = part(inventory, "spec")
    namespace = namespace_of(inventory)
    images = entries(spec, "images")
    listed = spec.get("images")
    understood = spec.get("namespace") == namespace and isinstance(listed, list) and len(images) == len(listed)
    for entry in images:
        image, decision = entry.get("image"), entry.get("decision")
        if decision not in (CACHE, IGNORE) or not isinstance(image, str):
            understood = False
            continue
        names = [name for name in texts(entry, "waiting") if name in (DIRECT, PROXIED)]
        # Who waits at the proxy for an image that is left alone now was rewritten before, and is helped all the same.
        found.waits.update(Wait(namespace, image, name) for name in names if decision == CACHE or name == PROXIED)
        if decision == IGNORE:
            found.ignored.add(image)
        elif _is_identity(image):
            _add(found.uses.setdefault(image, Use()), namespace, entry)
        else:
            understood = False
    if not understood:
        return "has an inventory that cannot be understood"
    unread = spec.get("unreadable")
    return f"has a workload that cannot be read, {', '.join(texts(spec, 'unreadable')[:1])}" if unread else ""


@lru_cache(maxsize=1 << 15)  # the same images come with every sync
def _is_identity(image: str) -> bool:
    try:
        return str(Reference.parse(image).identity) == image
    except InvalidReference:
        return False


def _add(use: Use, namespace: str, entry: Object) -> None:
    users = texts(entry, "usedBy")
    total = entry.get("users")
    use.secrets.update((namespace, secret) for secret in texts(entry, "pullSecrets"))
    use.users.update(f"{namespace}/{user}" for user in users)
    use.total += max(total, len(users)) if isinstance(total, int) else len(users)
    if not entry.keys().isdisjoint(_OF_TERMS):  # most images have no terms of their own
        use.terms = use.terms.joined(terms_of(entry))


def terms_of(entry: Object) -> Terms:
    """The terms that an inventory's entry names; what cannot be read was not said."""
    platforms = frozenset(texts(entry, "platforms")) if isinstance(entry.get("platforms"), list) else None
    referrers = entry.get("referrers")
    referrers = referrers if isinstance(referrers, bool) else None
    return Terms(_retention(entry), _refresh(part(entry, "refresh")), platforms, referrers)


def _retention(entry: Object) -> Retention | None:
    rule = entry.get("retentionRule")
    return Retention(str(entry["retention"]), str(rule)) if rule and _is_duration(entry.get("retention")) else None


def _refresh(said: Object) -> Refresh | None:
    mode, interval, rule = said.get("mode"), said.get("interval"), said.get("rule")
    if not rule or mode not in REFRESH_MODES or not _is_duration(interval):
        return None
    return Refresh(str(mode), str(interval), str(rule))


def _is_duration(text: Any) -> bool:
    try:
        parse_duration(str(text))
    except ValueError:
        return False
    return True
