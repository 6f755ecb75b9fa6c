"""Stage 2: all inventories together, as CachedImages, and what else the cluster needs while there are some."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from hooks.capacity import Capacity, Room
from hooks.conditions import FALSE, Condition, holds
from hooks.facts import Absent, Group, Groups, Known, Observation, Questions, Unknown
from hooks.fitness import unfit
from hooks.messages import Desired, RelatedRule, Unreadable
from hooks.progress import WANTED
from hooks.pull_roles import pull_roles
from hooks.rescue_job import Rescue, rescue
from hooks.resources import CACHED, CLUSTER_POLICY, DAEMON_SET, INVENTORY, JOB, NAMESPACE, WEBHOOK
from hooks.retention import DEFAULT_RETENTION
from hooks.savings import is_due, saved_status
from hooks.space import make_space, wants_a_look
from hooks.summary import Seen, proxies_unfit, summary
from hooks.terms import REFRESH_MODES, Refresh, Retention, Terms
from hooks.turns import Candidate, turns
from hooks.usage import Usage, may_be_whole, usage
from hooks.waiting import DIRECT
from hooks.wanted import Plan, Wanted, overdue, pull_secrets, wanted
from hooks.webhook import MIRROR, MODES, NAME, OFF, ON, OPT_IN, bundle_of, configuration, encoded
from kube.duration import parse_duration
from kube.types import Object, metadata, part, texts

PROXIES = {"app.kubernetes.io/name": "kube-image-keeper", "app.kubernetes.io/component": "proxy"}
_LOOK_AGAIN = 60.0  # seconds, where something is due and the pods could not be seen


def customize(_parent: Object) -> list[RelatedRule]:
    """All inventories and the policies; all namespaces, as one without an inventory has use that is not known; the
    proxies."""
    # Metacontroller begins to read each kind where the one before it is read, and every object that comes meanwhile
    # costs a sync that fails: so the few come first.
    everything = [RelatedRule(resource) for resource in (CLUSTER_POLICY, NAMESPACE, INVENTORY)]
    return [RelatedRule(DAEMON_SET, labels=PROXIES), *everything]


def asks(parent: Object, observed: Groups, now: datetime) -> Questions:
    """The CA bundle where there may be a webhook; the pods themselves only when something would expire now; the lost
    nodes only when too few proxies are ready; what was saved only when the status may say it."""
    defaults = _defaults(part(parent, "spec"))
    due = any(overdue(child, defaults, now) for child in observed[CACHED.group].values())
    due = due or wants_a_look(parent, observed, now)
    due = due and may_be_whole(observed[NAMESPACE.group], observed[INVENTORY.group])
    rewrites = _mode(part(parent, "spec")) != OFF
    proxies = list(observed[DAEMON_SET.group].values())
    lost = rewrites and bool(proxies) and unfit(proxies) is not None
    return Questions(pods=due, authority=rewrites, lost=lost, saved=is_due(parent, now))


def sync(parent: Object, children: Groups, seen: Observation) -> Desired:
    """The CachedImages to have, the rights and the webhook that go with them, and the cache's summary.

    Raises Unreadable for a spec that the schema would refuse.
    """
    spec = part(parent, "spec")
    mode = _mode(spec)
    capacity = Capacity.read(spec)
    plan = _plan(spec, seen, Room.read(parent, capacity, seen.settings.volumes))
    existing = {metadata(child)["name"]: child for child in children[CACHED.group].values()}
    images = [(_image(child), child) for child in existing.values()]
    new = plan.usage.uses.keys() - {image for image, _ in images}
    found = [wanted(image, child, plan) for image, child in (*images, *((image, None) for image in new))]
    alive = sorted((one for one in found if one), key=lambda one: str(one.child["metadata"]["name"]))
    made = [one.child for one in alive]
    space = make_space(alive, existing, plan, capacity, seen.related[CLUSTER_POLICY.group])
    cached = {name for name, child in existing.items() if holds(child, "Cached")}
    _give_turns(made, existing, cached, plan.usage, _concurrency(spec))
    secrets = [secret for child in made for secret in pull_secrets(child["spec"])]
    webhooks, why_not = _webhooks(spec, children[WEBHOOK.group], seen)
    helped = _rescue(plan.usage, [existing[name] for name in cached], children[JOB.group], spec, seen)
    observed = [existing.get(child["metadata"]["name"], child) for child in made]
    namespaces = seen.related[NAMESPACE.group]
    status, again = summary(
        parent, Seen(plan.usage, namespaces, observed, seen.in_use, mode, why_not, plan.room, space, seen.now)
    )
    saved, told_again = saved_status(parent, seen.saved, seen.now)
    status = {**status, "saved": saved} if saved else status
    roles = pull_roles(secrets, namespaces, seen.settings.job)
    jobs = [helped.job] if helped.job else []
    waits = (*_due(alive, seen), again, helped.resync, space.again, told_again)
    others = [_labelled(child, plan.labels) for child in (*roles, *webhooks, *jobs)]
    return Desired([*made, *others], status, min((wait for wait in waits if wait), default=0.0))


def _labelled(child: Object, labels: Mapping[str, str]) -> Object:
    """The child with the labels of the cache's selector: Metacontroller takes no child that it does not select."""
    meta = metadata(child)
    return {**child, "metadata": {**meta, "labels": {**part(meta, "labels"), **labels}}}


def _due(alive: Iterable[Wanted], seen: Observation) -> Iterator[float]:
    """The seconds until images expire; where one is due and nobody saw the pods, until the next look."""
    for one in alive:
        if one.expires is not None:
            yield max(1.0, one.expires) if one.expires or isinstance(seen.in_use, Known) else _LOOK_AGAIN


def _plan(spec: Object, seen: Observation, room: Room) -> Plan:
    labels = part(part(spec, "selector"), "matchLabels")
    if not labels:
        raise Unreadable("parent.spec.selector.matchLabels: name a label, so that a new ImageCache finds its images")
    related = seen.related
    found = usage(related[NAMESPACE.group], related[INVENTORY.group], related[CLUSTER_POLICY.group])
    return Plan(found, _defaults(spec), dict(labels), seen.now, seen.in_use, room)


def _defaults(spec: Object) -> Terms:
    """What the ImageCache says of every image that no policy speaks of; raises Unreadable."""
    retention = str(spec.get("retention", DEFAULT_RETENTION))
    refresh = part(spec, "refresh")
    mode, interval = str(refresh.get("mode", "Sync")), str(refresh.get("interval", "1h"))
    for field, text in (("retention", retention), ("refresh.interval", interval)):
        try:
            parse_duration(text)
        except ValueError as error:
            raise Unreadable(f"parent.spec.{field}: {error}") from error
    if mode not in REFRESH_MODES:
        raise Unreadable(f"parent.spec.refresh.mode: {mode!r} is not one of {', '.join(REFRESH_MODES)}")
    referrers = part(spec, "copies").get("referrers") is True
    return Terms(Retention(retention, ""), Refresh(mode, interval, ""), frozenset(texts(spec, "platforms")), referrers)


def _mode(spec: Object) -> str:
    mode = spec.get("mode", ON)
    if mode not in MODES:
        raise Unreadable(f"parent.spec.mode: {mode!r} is not one of {', '.join(MODES)}")
    return str(mode)


def _concurrency(spec: Object) -> int:
    found = part(spec, "copies").get("concurrency", 5)
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise Unreadable("parent.spec.copies.concurrency: write a number of copies, at least 1")
    return found


def _image(child: Object) -> str:
    image = part(child, "spec").get("image")
    if not isinstance(image, str) or not image:
        raise Unreadable(f"children: CachedImage {metadata(child)['name']} has no spec.image")
    return image


def _give_turns(
    images: list[dict[str, Any]], existing: Mapping[str, Object], cached: set[str], usage: Usage, most: int
) -> None:
    """Say in each image's spec whether pods wait for it, and suspend it unless it is its turn to be copied."""
    waited_for = {wait.image for wait in usage.waits}
    candidates = [_candidate(image, existing.get(image["metadata"]["name"]), cached, waited_for) for image in images]
    admitted = turns(candidates, most)
    for image, candidate in zip(images, candidates, strict=True):
        spec = image["spec"]
        if candidate.waiting:
            spec["waiting"] = True
        # Said either way: what a stage leaves out, Metacontroller leaves as somebody set it.
        spec["suspend"] = candidate.name not in admitted


def _candidate(image: Object, observed: Object | None, cached: set[str], waited_for: set[str]) -> Candidate:
    status = part(observed, "status") if observed else {}
    name = metadata(image)["name"]
    return Candidate(
        name=name,
        copy=_copy(image, status),
        admitted=observed is not None and part(observed, "spec").get("suspend") is not True,
        cached=name in cached,
        waiting=image["spec"]["image"] in waited_for,
        used="unusedSince" not in image["spec"],
    )


def _copy(image: Object, status: Object) -> str:
    """Its `status.copy`; one that is held wants none as long as it does not run."""
    copy = str(status.get("copy", "")) if status else WANTED
    return "" if "hold" in image["spec"] and copy == WANTED else copy


def _webhooks(spec: Object, observed: Group, seen: Observation) -> tuple[list[Object], Condition | None]:
    """The webhook configuration to have, and why no pod is rewritten, where the mode alone does not say it."""
    mode, there = _mode(spec), observed.get(NAME)
    if mode == OFF:
        return [], None
    if spec.get("delivery") == MIRROR:
        return [], Condition(
            "Rewriting", FALSE, "Mirror", "spec.delivery is Mirror: containerd asks the proxies itself"
        )
    proxies = seen.related[DAEMON_SET.group]
    why_not = proxies_unfit(proxies.values(), seen.lost.value if isinstance(seen.lost, Known) else 0)
    if not proxies:
        return [], why_not
    bundle = encoded(seen.authority.value) if isinstance(seen.authority, Known) else bundle_of(there or {})
    if not bundle:
        return [], Condition("Rewriting", FALSE, "NoCertificate", _no_certificate(seen.authority))
    return [configuration(mode, bundle, seen.settings)], why_not


def _no_certificate(authority: Known[str] | Absent | Unknown) -> str:
    why = f": {authority.why}" if isinstance(authority, Unknown) and authority.why else ""
    return f"the webhook's certificate is not known yet{why}"


def _rescue(usage: Usage, cached_images: Iterable[Object], jobs: Group, spec: Object, seen: Observation) -> Rescue:
    """Help who waits at a proxy always, and who waits upstream where the image is cached and pods are rewritten."""
    mode = OFF if spec.get("delivery") == MIRROR else _mode(spec)
    cached = {_image(child) for child in cached_images} if usage.waits and mode in (ON, OPT_IN) else set()
    targets = [wait for wait in usage.waits if wait.name != DIRECT or wait.image in cached]
    return rescue(targets, jobs, mode, seen.settings, seen.now)
