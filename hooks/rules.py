"""The rules of ClusterCachePolicies and CachePolicies, read into values.

The API server takes no policy that does not fit the schema. Should one come all the same, it raises Unreadable: what a
rule is about cannot be guessed, and a rule left out could let an image go.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import orjson

from hooks.glob import Glob, fits, glob
from hooks.messages import Unreadable
from hooks.selector import OPERATORS, WITH_VALUES, Requirement, Selector
from hooks.terms import REFRESH_MODES, Refresh, Retention, Terms
from kube.duration import parse_duration
from kube.types import CLUSTER_CACHE_POLICY, Object, metadata

CACHE = "Cache"
IGNORE = "Ignore"
_INTERVAL = "1h"
_MATCHES = frozenset({"namespaces", "podSelector", "images", "ownerKinds"})
_SELECTORS = frozenset({"matchLabels", "matchExpressions"})


@dataclass(frozen=True, slots=True)
class Rule:
    """What is done about some images of some pods. `name` is how an inventory names it: kind, policy and rule."""

    name: str
    action: str
    enforced: bool = False
    namespaces: tuple[Glob, ...] = ()
    images: tuple[Glob, ...] = ()
    owner_kinds: frozenset[str] = frozenset()
    selector: Selector = field(default_factory=Selector)
    terms: Terms = field(default_factory=Terms)

    def is_about(self, labels: Mapping[str, str], owner_kind: str) -> bool:
        """Whether the rule is about images of pods with these labels, whose top controller is of that kind."""
        return (not self.owner_kinds or owner_kind in self.owner_kinds) and self.selector.matches(labels)

    def names(self, image: str) -> bool:
        """Whether the rule is about an image of this identity."""
        return fits(self.images, image)


def rules_of(policy: Object, kind: str) -> tuple[Rule, ...]:
    """A policy's rules, in its order; raises Unreadable with the field."""
    origin = f"{kind}/{metadata(policy)['name']}"
    spec = _object(policy, "spec", origin)
    try:
        return _rules(origin, orjson.dumps(spec.get("rules") or []))
    except orjson.JSONEncodeError as error:
        raise Unreadable(f"{origin}: spec.rules: {error}") from error


def images_of(policy: Object, kind: str) -> Sequence[str]:
    """The images that a policy wants ahead of need, also those for its nodes; raises Unreadable with the field."""
    origin = f"{kind}/{metadata(policy)['name']}"
    listed = _texts(_object(policy, "spec", origin), "images", f"{origin}: spec")
    pulled = (image for entry in prefetch_of(policy, kind) for image in _texts(entry, "images", origin))
    return list(dict.fromkeys((*listed, *pulled)))


def prefetch_of(policy: Object, kind: str) -> Sequence[Object]:
    """A policy's rules that pull images onto nodes, each with a name; raises Unreadable with the field."""
    origin = f"{kind}/{metadata(policy)['name']}"
    listed = _object(policy, "spec", origin).get("prefetch") or []
    if not isinstance(listed, list) or not all(isinstance(entry, Mapping) for entry in listed):
        raise Unreadable(f"{origin}: spec.prefetch is not a list of rules")
    for at, entry in enumerate(listed):
        if not isinstance(entry.get("name"), str) or not entry["name"]:
            raise Unreadable(f"{origin}: spec.prefetch[{at}].name is missing")
    return listed


@lru_cache(maxsize=4096)
def _rules(origin: str, text: bytes) -> tuple[Rule, ...]:
    """Read once for as long as the policy says the same."""
    listed = orjson.loads(text)
    return tuple(
        _rule(entry, origin, f"{origin}: spec.rules[{at}]") for at, entry in enumerate(_list_of(listed, origin))
    )


def _list_of(listed: Any, origin: str) -> Sequence[Object]:
    if not isinstance(listed, list) or not all(isinstance(entry, Mapping) for entry in listed):
        raise Unreadable(f"{origin}: spec.rules is not a list of rules")
    return listed


def _rule(entry: Object, origin: str, where: str) -> Rule:
    name, action, enforced = entry.get("name"), entry.get("action"), entry.get("enforced") or False
    if not isinstance(name, str) or not name:
        raise Unreadable(f"{where}.name is missing")
    if action not in (CACHE, IGNORE):
        raise Unreadable(f"{where}.action is {action!r}, not {CACHE} or {IGNORE}")
    if not isinstance(enforced, bool):
        raise Unreadable(f"{where}.enforced is {enforced!r}, not true or false")
    match = _object(entry, "match", where)
    _no_others(match, _MATCHES, f"{where}.match")
    is_cluster = origin.startswith(f"{CLUSTER_CACHE_POLICY}/")
    called = f"{origin}/{name}"
    return Rule(
        name=called,
        action=action,
        enforced=enforced and is_cluster,
        namespaces=tuple(map(glob, _texts(match, "namespaces", f"{where}.match"))) if is_cluster else (),
        images=tuple(map(glob, _texts(match, "images", f"{where}.match"))),
        owner_kinds=frozenset(_texts(match, "ownerKinds", f"{where}.match")),
        selector=_selector(_object(match, "podSelector", f"{where}.match"), f"{where}.match.podSelector"),
        terms=_terms(entry, called, where) if action == CACHE else Terms(),
    )


def _terms(entry: Object, rule: str, where: str) -> Terms:
    retention, refresh = entry.get("retention"), _object(entry, "refresh", where)
    if retention is not None:
        _check_duration(retention, f"{where}.retention")
    platforms = None if entry.get("platforms") is None else frozenset(_texts(entry, "platforms", where))
    referrers = entry.get("referrers")
    if not isinstance(referrers, bool | None):
        raise Unreadable(f"{where}.referrers is {referrers!r}, not true or false")
    kept = Retention(retention, rule) if retention else None
    return Terms(kept, _refresh(refresh, rule, where), platforms, referrers)


def _refresh(refresh: Object, rule: str, where: str) -> Refresh | None:
    if not refresh:
        return None
    mode, interval = refresh.get("mode"), refresh.get("interval") or _INTERVAL
    if mode not in REFRESH_MODES:
        raise Unreadable(f"{where}.refresh.mode is {mode!r}, not one of {', '.join(REFRESH_MODES)}")
    _check_duration(interval, f"{where}.refresh.interval")
    return Refresh(mode, interval, rule)


def _check_duration(value: Any, where: str) -> None:
    try:
        parse_duration(str(value))
    except ValueError as error:
        raise Unreadable(f"{where}: {error}") from error


def _selector(selector: Object, where: str) -> Selector:
    _no_others(selector, _SELECTORS, where)
    wanted = _object(selector, "matchLabels", where)
    if not all(isinstance(value, str) for value in wanted.values()):
        raise Unreadable(f"{where}.matchLabels holds a value that is not text")
    equal = (Requirement(key, "In", frozenset({value})) for key, value in sorted(wanted.items()))
    return Selector((*equal, *_expressions(selector, where)))


def _expressions(selector: Object, where: str) -> Iterator[Requirement]:
    listed = selector.get("matchExpressions") or []
    if not isinstance(listed, list) or not all(isinstance(entry, Mapping) for entry in listed):
        raise Unreadable(f"{where}.matchExpressions is not a list of conditions")
    for at, entry in enumerate(listed):
        here = f"{where}.matchExpressions[{at}]"
        key, operator, values = entry.get("key"), entry.get("operator"), _texts(entry, "values", here)
        if not isinstance(key, str) or not key:
            raise Unreadable(f"{here}.key is missing")
        if operator not in OPERATORS:
            raise Unreadable(f"{here}.operator is {operator!r}, not one of {', '.join(sorted(OPERATORS))}")
        if (operator in WITH_VALUES) != bool(values):
            raise Unreadable(f"{here}.values: In and NotIn need values, Exists and DoesNotExist take none")
        yield Requirement(key, operator, frozenset(values))


def _object(obj: Object, name: str, where: str) -> Object:
    value = obj.get(name)
    if value is not None and not isinstance(value, Mapping):
        raise Unreadable(f"{where}: {name} is not an object")
    return value or {}


def _texts(obj: Object, name: str, where: str) -> Sequence[str]:
    value = obj.get(name)
    if value is not None and not (isinstance(value, list) and all(isinstance(entry, str) for entry in value)):
        raise Unreadable(f"{where}.{name} is not a list of texts")
    return value or ()


def _no_others(obj: Object, known: frozenset[str], where: str) -> None:
    """Raise Unreadable for a condition that these hooks do not know: without it the rule would mean more."""
    others = sorted(obj.keys() - known)
    if others:
        raise Unreadable(f"{where}: {', '.join(others)} is not known; known are {', '.join(sorted(known))}")
