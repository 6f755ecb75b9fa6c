"""Stage 1: what a namespace's workloads use, and what is decided about each image.

The answer is a set without counts: pods that come and go under the same workloads do not change it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hooks.containers import (
    Obstacle,
    containers,
    is_windows,
    namespace_opts_out,
    obstacle,
    opted,
    originals_of,
    upstream,
)
from hooks.facts import Groups, Observation, Settings
from hooks.messages import Desired, RelatedRule
from hooks.resources import POD, SERVICE_ACCOUNT
from hooks.workloads import TEMPLATES, Workload, workloads
from kube.types import API_VERSION, IMAGE_INVENTORY, Object, metadata

CACHE = "Cache"
IGNORE = "Ignore"
MAX_USERS = 20
_MAX_IMAGE = 512
_MAX_MESSAGE = 300
_WINDOWS = Obstacle("Windows", "the pod asks for Windows nodes, where no proxy runs")
_STRONGEST_FIRST = ("PodLabel", "NamespaceLabel", "Default")


@dataclass(frozen=True, slots=True)
class Decision:
    """What is done about an image and the rule that says so; `message` is for people."""

    action: str
    rule: str
    message: str = ""

    @property
    def rank(self) -> tuple[bool, int, str, str]:
        """Where pods differ the lowest wins: Cache before Ignore, then the stronger rule."""
        known = self.rule in _STRONGEST_FIRST
        strength = _STRONGEST_FIRST.index(self.rule) if known else len(_STRONGEST_FIRST)
        return (self.action != CACHE, strength, self.rule, self.message)


@dataclass(slots=True)
class _Use:
    """What was found so far about one image; grows while the workloads are read."""

    decision: Decision
    secrets: set[str] = field(default_factory=set)
    users: set[str] = field(default_factory=set)


def customize(parent: Object) -> list[RelatedRule]:
    """The pods of the namespace, its service accounts, and the templates that will make pods."""
    namespace = metadata(parent)["name"]
    return [RelatedRule(resource, namespace) for resource in (POD, SERVICE_ACCOUNT, *TEMPLATES)]


def sync(parent: Object, _children: Groups, seen: Observation) -> Desired:
    """The namespace's ImageInventory; it exists also where nothing is used, so that its absence is a fact."""
    namespace = metadata(parent)["name"]
    opts_out = namespace_opts_out(parent)
    uses: dict[str, _Use] = {}
    for workload in workloads(seen.related):
        for image, decision in _decisions(workload, opts_out=opts_out, settings=seen.settings):
            _add(uses, image, decision, workload)
    inventory = {
        "apiVersion": API_VERSION,
        "kind": IMAGE_INVENTORY,
        "metadata": {"name": namespace, "labels": {"app.kubernetes.io/managed-by": "kube-image-keeper"}},
        "spec": {"namespace": namespace, "images": [_entry(image, uses[image]) for image in sorted(uses)]},
    }
    return Desired(children=[inventory])


def _decisions(workload: Workload, *, opts_out: bool, settings: Settings) -> Iterable[tuple[str, Decision]]:
    originals = originals_of(workload.pod)
    ruled = _ruled(workload.pod, opts_out=opts_out)
    windows = _WINDOWS if is_windows(workload.spec) else None
    for _, _, container in containers(workload.spec):
        reference = upstream(container, originals, settings.proxy)
        found: Obstacle | None
        if isinstance(reference, Obstacle):
            image, found = container["image"], reference
        else:
            image, found = str(reference.identity), windows or obstacle(reference, container, settings)
        # What is served fits the schema by its own limits; for the rest, a pod could hold texts of any length.
        yield (image[:_MAX_IMAGE], _ignored(found)) if found else (image, ruled)


def _ignored(why: Obstacle) -> Decision:
    return Decision(IGNORE, why.rule, why.message[:_MAX_MESSAGE])


def _ruled(pod: Object, *, opts_out: bool) -> Decision:
    said = opted(pod)
    if said is not None:
        return Decision(CACHE if said else IGNORE, "PodLabel")
    return Decision(IGNORE, "NamespaceLabel") if opts_out else Decision(CACHE, "Default")


def _add(uses: dict[str, _Use], image: str, decision: Decision, workload: Workload) -> None:
    use = uses.setdefault(image, _Use(decision))
    use.decision = min(use.decision, decision, key=lambda one: one.rank)
    use.secrets.update(workload.secrets)
    use.users.add(workload.user)


def _entry(image: str, use: _Use) -> Mapping[str, Any]:
    decision = use.decision
    return {
        "image": image,
        "decision": decision.action,
        "rule": decision.rule,
        **({"message": decision.message} if decision.message else {}),
        "pullSecrets": sorted(use.secrets),
        "usedBy": sorted(use.users)[:MAX_USERS],
        "users": len(use.users),
    }
