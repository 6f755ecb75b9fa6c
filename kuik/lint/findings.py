"""What is wrong with the rules of some policies."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from hooks.containers import Obstacle, containers, image_volumes, originals_of, upstream
from hooks.facts import Settings
from hooks.glob import glob
from hooks.policy import Policies
from hooks.rules import IGNORE, Rule
from kube.types import Key, Object, metadata
from kuik.lint.names import impossible
from kuik.lint.overlap import covers, meet
from kuik.plan.groups import workloads_of

SHADOWED, LOOSENS, OVERRULED, NEVER = "Shadowed", "Loosens", "Overruled", "NeverMatches"


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule, as `Kind/policy/rule` (with its namespace for a CachePolicy), and what is wrong with it."""

    rule: str
    finding: str
    message: str

    def document(self) -> dict[str, Any]:
        return {"rule": self.rule, "finding": self.finding, "message": self.message}


def static(policies: Policies) -> list[Finding]:
    """What the rules themselves tell, the strongest rules first."""
    enforced = [(rule.name, rule) for rule in policies.enforced]
    others = [(rule.name, rule) for rule in policies.others]
    found = [*_misnamed(policies), *_in_order(enforced), *_loosening(enforced)]
    for namespace in sorted(policies.own):
        own = [
            (_named(rule, namespace), replace(rule, namespaces=(glob(namespace),))) for rule in policies.own[namespace]
        ]
        found += [*_beside(enforced, own), *_in_order(own)]
    return [*found, *_beside(enforced, others), *_in_order(others)]


def unmatched(policies: Policies, objects: Mapping[Key, Object], settings: Settings | None = None) -> list[Finding]:
    """The rules that are about no image of any workload among the objects."""
    proxy = (settings or Settings()).proxy
    matched: set[str] = set()
    for space, workload in workloads_of(objects):
        namespace = str(metadata(space)["name"])
        rules = policies.of(space).for_pod(workload.pod, workload.kind).rules
        originals = originals_of(workload.pod)
        every = [*(one for _, _, one in containers(workload.spec)), *image_volumes(workload.spec)]
        for container in every:
            reference = upstream(container, originals, proxy)
            if not isinstance(reference, Obstacle):
                image = str(reference.identity)
                matched.update(_named(rule, namespace) for rule in rules if rule.names(image))
    every_rule = [name for name, _ in _every(policies)]
    why = "no workload that is there uses an image that the rule is about"
    return [Finding(name, NEVER, why) for name in every_rule if name not in matched]


def _every(policies: Policies) -> Iterator[tuple[str, Rule]]:
    yield from ((rule.name, rule) for rule in (*policies.enforced, *policies.others))
    yield from ((_named(rule, namespace), rule) for namespace, own in policies.own.items() for rule in own)


def _misnamed(policies: Policies) -> Iterator[Finding]:
    """Rules that name images as no image is ever called."""
    for name, rule in _every(policies):
        for pattern in rule.images:
            why = impossible(pattern.pattern)
            if why:
                yield Finding(name, NEVER, f"{pattern.pattern} stands for no image: {why}")


def _named(rule: Rule, namespace: str) -> str:
    kind, _, rest = rule.name.partition("/")
    return f"{kind}/{namespace}/{rest}" if kind == "CachePolicy" else rule.name


def _in_order(rules: list[tuple[str, Rule]]) -> Iterator[Finding]:
    """Rules of one strength: each may be covered by one before it."""
    for at, (name, rule) in enumerate(rules):
        yield from _shadowed(name, rule, rules[:at])


def _beside(enforced: list[tuple[str, Rule]], weaker: list[tuple[str, Rule]]) -> Iterator[Finding]:
    """Rules that are not enforced: covered by an enforced one, or of another opinion than one."""
    for name, rule in weaker:
        shadowed = list(_shadowed(name, rule, enforced))
        yield from shadowed
        against = [] if shadowed else [one for one, other in enforced if _opposed(other, rule)]
        if against:
            yield Finding(
                name, OVERRULED, f"says {rule.action}, and has no effect where {against[0]} applies: that is enforced"
            )


def _loosening(enforced: list[tuple[str, Rule]]) -> Iterator[Finding]:
    """Enforced rules that come first and so take something away from another enforced one."""
    for at, (name, rule) in enumerate(enforced):
        for other, later in enforced[at + 1 :]:
            if _opposed(rule, later) and not covers(rule, later):
                yield Finding(
                    name, LOOSENS, f"says {rule.action} before {other}, which is enforced, can say {later.action}"
                )


def _opposed(one: Rule, other: Rule) -> bool:
    return one.action != other.action and meet(one, other)


def _shadowed(name: str, rule: Rule, before: list[tuple[str, Rule]]) -> Iterator[Finding]:
    for other, earlier in before:
        if covers(earlier, rule) and not _adds(rule, earlier):
            yield Finding(name, SHADOWED, f"{other} comes first and is about all of it: the rule has no effect")
            return


def _adds(rule: Rule, earlier: Rule) -> bool:
    """Whether a rule says something that counts although an earlier one decides: how an image is kept.

    Where the earlier one leaves images alone, the label of a pod may still have them cached, unless it is enforced.
    """
    if rule.action == IGNORE or (earlier.action == IGNORE and earlier.enforced):
        return False
    return rule.terms.under(earlier.terms) != earlier.terms
