"""Which rule decides about each container of a workload, and which it beats."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hooks.containers import Obstacle, containers, image_volumes, obstacle, originals_of, upstream
from hooks.facts import Settings
from hooks.placement import windows
from hooks.policy import Policies
from hooks.rules import CACHE, IGNORE, Rule
from hooks.terms import Terms
from hooks.workloads import Workload
from kube.types import Key, Object, metadata
from kuik.plan.groups import policies_of, workloads_of


@dataclass(frozen=True, slots=True)
class Why:
    """One container. `rule` decides, with `message` where it is no policy's; `beaten` would have said something too,
    the strongest first; `terms` is how the image is kept, each with the rule that says so."""

    workload: str
    container: str
    image: str
    action: str
    rule: str
    message: str
    beaten: tuple[tuple[str, str], ...]
    terms: Mapping[str, str]

    def document(self) -> dict[str, Any]:
        return {
            "workload": self.workload,
            "container": self.container,
            "image": self.image,
            "action": self.action,
            "rule": self.rule,
            "message": self.message,
            "beaten": [{"rule": rule, "action": action} for rule, action in self.beaten],
            "terms": dict(self.terms),
        }


def why(objects: Mapping[Key, Object], namespace: str, name: str, settings: Settings | None = None) -> list[Why]:
    """About the workloads of this name, `web` or `Deployment/web`, in a namespace: each container once.

    A pod counts by its own name, and as its top controller. Raises Unreadable for policies.
    """
    policies = policies_of(objects)
    found: dict[tuple[str, str, str], Why] = {}
    for space, workload in workloads_of(objects):
        if metadata(space)["name"] == namespace and _is_meant(workload, name):
            for one in _containers(space, workload, policies, settings or Settings()):
                found.setdefault((one.workload, one.container, one.image), one)
    return list(found.values())


def _is_meant(workload: Workload, name: str) -> bool:
    kind, _, bare = workload.user.partition("/")
    pod = str(metadata(workload.pod).get("name", ""))
    return (
        name in (workload.user, bare) or (bool(pod) and name in (pod, f"Pod/{pod}")) or name == f"{kind.lower()}/{bare}"
    )


def _containers(space: Object, workload: Workload, policies: Policies, settings: Settings) -> Iterator[Why]:
    rules = policies.of(space).for_pod(workload.pod, workload.kind)
    originals = originals_of(workload.pod)
    user = f"{metadata(space)['name']}/{workload.user}"
    every = [*(one for _, _, one in containers(workload.spec)), *image_volumes(workload.spec)]
    for container in every:
        name = str(container.get("name", ""))
        reference = upstream(container, originals, settings.proxy)
        if isinstance(reference, Obstacle):
            yield Why(user, name, container["image"], IGNORE, reference.rule, reference.message, (), {})
            continue
        image = str(reference.identity)
        fitting = [rule for rule in rules.rules if rule.names(image)]
        beaten = [(rule.name, rule.action) for rule in fitting]
        hindered = windows(workload.spec) or obstacle(reference, container, settings)
        if hindered:
            yield Why(user, name, image, IGNORE, hindered.rule, hindered.message, tuple(beaten), {})
            continue
        first = fitting[0]
        message = "enforced" if first.enforced else ""
        terms = _terms(fitting) if first.action == CACHE else {}
        yield Why(user, name, image, first.action, first.name, message, tuple(beaten[1:]), terms)


def _terms(fitting: list[Rule]) -> dict[str, str]:
    """What the rules say of how the image is kept; what none says is the ImageCache's."""
    terms, platforms_by, referrers_by = Terms(), "", ""
    for rule in fitting:
        if terms.referrers is None and rule.terms.referrers is not None:
            referrers_by = rule.name
        if terms.platforms is None and rule.terms.platforms is not None:
            platforms_by = rule.name
        terms = rule.terms.under(terms)
    said: dict[str, str] = {}
    if terms.retention:
        said["retention"] = f"{terms.retention.duration} by {terms.retention.rule}"
    if terms.refresh:
        said["refresh"] = f"{terms.refresh.mode} every {terms.refresh.interval} by {terms.refresh.rule}"
    if terms.platforms is not None:
        said["platforms"] = f"{', '.join(sorted(terms.platforms)) or 'all'} by {platforms_by}"
    if terms.referrers is not None:
        said["referrers"] = f"{'kept' if terms.referrers else 'not kept'} by {referrers_by}"
    return said
