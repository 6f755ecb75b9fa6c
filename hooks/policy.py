"""What is decided about an image of a pod, by which rule, and how it is to be kept.

Strongest first: enforced cluster rules, the pod's label, the namespace's CachePolicies, the namespace's label, other
cluster rules, and what is so unless somebody says otherwise: Cache. Within one strength the policies come by name and
their rules in their order, and the first that fits decides. How an image is kept comes, setting by setting, from the
first rule with the action Cache that fits and says it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from operator import itemgetter
from typing import Self

from hooks.containers import Obstacle, namespace_says, opted
from hooks.glob import fits
from hooks.rules import CACHE, IGNORE, Rule, rules_of
from hooks.terms import Terms
from kube.types import CACHE_POLICY, CLUSTER_CACHE_POLICY, Object, labels, metadata
from registry.reference import Reference

POD_LABEL = "PodLabel"
NAMESPACE_LABEL = "NamespaceLabel"
DEFAULT = "Default"
_DEFAULT = Rule(DEFAULT, CACHE)
_BY_NAME = itemgetter(0)


@dataclass(frozen=True, slots=True)
class Decision:
    """What is done about an image and the rule that says so; `message` is for people, `terms` for what is cached."""

    action: str
    rule: str
    message: str = ""
    terms: Terms = field(default_factory=Terms)

    @property
    def caches(self) -> bool:
        return self.action == CACHE


@dataclass(frozen=True, slots=True)
class ImagePolicies:
    """The rules about one pod's images, the strongest first; the last one fits every image."""

    rules: tuple[Rule, ...]

    def decide(self, image: str) -> Decision:
        """What becomes of the image of this identity (`str(reference.identity)`): a digest without its tag."""
        fitting = [rule for rule in self.rules if rule.names(image)]
        first = fitting[0]
        if first.action == IGNORE:
            return Decision(IGNORE, first.name)
        terms = Terms()
        for rule in fitting:
            terms = rule.terms.under(terms)
        return Decision(CACHE, first.name, terms=terms)


class NamespacePolicies:
    """The rules about one namespace's pods. It remembers what it was asked: make one for each request."""

    def __init__(self, enforced: tuple[Rule, ...], own: tuple[Rule, ...], others: tuple[Rule, ...]) -> None:
        self._enforced = enforced
        self._own = own
        self._others = others
        rules = (*enforced, *own, *others)
        self._keys = sorted({key for rule in rules for key in rule.selector.keys})
        self._known: dict[tuple[object, ...], ImagePolicies] = {}
        self._made: dict[tuple[str, ...], ImagePolicies] = {}

    def for_pod(self, pod: Object, owner_kind: str) -> ImagePolicies:
        """The rules about a pod, or a template `{metadata, spec}`, whose top controller is of this kind.

        Pods that no rule tells from one another get the same object.
        """
        worn, said = labels(pod), opted(pod)
        found = {key: value for key in self._keys if isinstance(value := worn.get(key), str)}
        pattern = (owner_kind, said, *found.items())
        if pattern not in self._known:
            stated = () if said is None else (_says(POD_LABEL, caches=said),)
            self._known[pattern] = self._for(found, owner_kind, stated)
        return self._known[pattern]

    def ahead_of_need(self, policy: str) -> ImagePolicies:
        """The rules about images that the CachePolicy of this name lists: only enforced ones can leave them alone."""
        name = f"{CACHE_POLICY}/{policy}"
        if (name,) not in self._known:
            self._known[(name,)] = self._for({}, CACHE_POLICY, (Rule(name, CACHE),))
        return self._known[(name,)]

    def _for(self, found: Mapping[str, str], owner_kind: str, stated: tuple[Rule, ...]) -> ImagePolicies:
        def about(rules: tuple[Rule, ...]) -> Iterator[Rule]:
            return (rule for rule in rules if rule.is_about(found, owner_kind))

        rules = (*about(self._enforced), *stated, *about(self._own), *about(self._others), _DEFAULT)
        said = (*(rule.name for rule in rules), *(rule.action for rule in stated))
        return self._made.setdefault(said, ImagePolicies(rules))


@dataclass(frozen=True, slots=True)
class Policies:
    """Every rule of a cluster, or as much of them as one was given. `own` are CachePolicies' by their namespace."""

    enforced: tuple[Rule, ...] = ()
    others: tuple[Rule, ...] = ()
    own: Mapping[str, tuple[Rule, ...]] = field(default_factory=dict)

    @classmethod
    def read(cls, cluster_policies: Iterable[Object], namespace_policies: Iterable[Object]) -> Self:
        """The rules of ClusterCachePolicies, and of CachePolicies of any number of namespaces; raises Unreadable."""
        named = sorted(((str(metadata(one)["name"]), one) for one in cluster_policies), key=_BY_NAME)
        cluster = [rule for _, one in named for rule in rules_of(one, CLUSTER_CACHE_POLICY)]
        own: dict[str, tuple[Rule, ...]] = {}
        for _, one in sorted(((str(metadata(one)["name"]), one) for one in namespace_policies), key=_BY_NAME):
            namespace = str(metadata(one).get("namespace", ""))
            own[namespace] = (*own.get(namespace, ()), *rules_of(one, CACHE_POLICY))
        enforced = tuple(rule for rule in cluster if rule.enforced)
        return cls(enforced, tuple(rule for rule in cluster if not rule.enforced), own)

    def of(self, namespace: Object) -> NamespacePolicies:
        """The rules about pods of this Namespace; where only its name is known, `{"metadata": {"name": ...}}` does."""
        name = str(metadata(namespace)["name"])
        said = namespace_says(namespace)
        stated = () if said is None else (_says(NAMESPACE_LABEL, caches=said),)
        own = (*self.own.get(name, ()), *stated)
        return NamespacePolicies(_there(self.enforced, name), own, _there(self.others, name))

    def decide(self, namespace: Object, pod: Object, owner_kind: str, image: str) -> Decision:
        """What becomes of one image of one pod; for more of them, ask `of(namespace).for_pod(...)` once."""
        return self.of(namespace).for_pod(pod, owner_kind).decide(image)


def left_alone(about: NamespacePolicies, pod: Object, owner_kind: str) -> Callable[[Reference], Obstacle | None]:
    """Tells of each image of a pod, or of a template `{metadata, spec}`, by which rule it is left alone, if it is."""
    rules = about.for_pod(pod, owner_kind)

    @cache  # each image is looked at twice: for what to ask the shield, and for the answer
    def decide(reference: Reference) -> Obstacle | None:
        decision = rules.decide(str(reference.identity))
        return None if decision.caches else Obstacle(decision.rule, decision.message or f"{decision.rule} says so")

    return decide


def _says(label: str, *, caches: bool) -> Rule:
    return Rule(label, CACHE if caches else IGNORE)


def _there(rules: tuple[Rule, ...], namespace: str) -> tuple[Rule, ...]:
    return tuple(rule for rule in rules if fits(rule.namespaces, namespace))
