"""Workloads that a change brings along: their templates as they would be, and their pods made anew from them."""

from collections.abc import Mapping
from typing import Any

from hooks.containers import FIELDS
from hooks.resources import CRON_JOB, DAEMON_SET, DEPLOYMENT, STATEFUL_SET
from hooks.workloads import template, top_controller
from kube.types import Key, Object, entries, labels, metadata, part
from kuik.plan.inventory import slim

TEMPLATES = {one.kind: one for one in (DEPLOYMENT, STATEFUL_SET, DAEMON_SET, CRON_JOB)}
"""The kinds of which a change knows what becomes of their pods."""

_OF_PODS = ("serviceAccountName", "imagePullSecrets", "os", "nodeSelector")
_OF_CONTAINERS = ("name", "image")


def is_whole(obj: Object) -> bool:
    """Whether it is a workload with containers, and not a patch for one that is elsewhere."""
    return obj["kind"] in TEMPLATES and bool(entries(part(_template(obj), "spec"), "containers"))


def essence(obj: Object) -> Mapping[str, Any]:
    """What of a workload decides about its images: equal for what git has and what the API server made of it."""
    made = _template(obj)
    spec = part(made, "spec")
    fields: dict[str, Any] = {name: spec[name] for name in _OF_PODS if spec.get(name)}
    for field in FIELDS:
        listed = [{name: one.get(name) for name in _OF_CONTAINERS} for one in entries(spec, field)]
        if listed:
            fields[field] = listed
    return {"labels": dict(labels(made)), **fields}


def rolled_out(found: dict[Key, Object], key: Key, wanted: Object | None) -> None:
    """Put a workload into the cluster's objects, and its pods as they are after its rollout; None takes all away."""
    before = found.pop(key, None)
    after = slim(wanted) if wanted is not None else None
    if after is not None:
        found[key] = after
        if before is not None and essence(before) == essence(after):
            return
    for pod in [one for one in found if one.kind == "Pod" and one.namespace == key.namespace]:
        if top_controller(found[pod], _crons(found, key)) != f"{key.kind}/{key.name}":
            continue
        if after is None or before is None:
            del found[pod]
        else:
            found[pod] = _anew(found[pod], _template(before), _template(after))


def _anew(pod: Object, before: Object, after: Object) -> Object:
    """The pod as it would be made of another template: what others put into it, such as a sidecar, is still there."""
    worn = {name: value for name, value in labels(pod).items() if name not in labels(before)} | dict(labels(after))
    old, new = part(before, "spec"), part(after, "spec")
    spec: dict[str, Any] = {name: value for name, value in part(pod, "spec").items() if name not in _OF_PODS}
    spec |= {name: new[name] for name in _OF_PODS if new.get(name)}
    for field in FIELDS:
        own = {one.get("name") for one in entries(old, field)}
        others = [one for one in entries(spec, field) if one.get("name") not in own]
        spec[field] = [*entries(new, field), *others]
    return {**pod, "metadata": {**metadata(pod), "labels": worn}, "spec": spec}


def _template(obj: Object) -> Object:
    return template(TEMPLATES[obj["kind"]], obj)


def _crons(found: Mapping[Key, Object], key: Key) -> set[str]:
    names = {one.name for one in found if one.kind == CRON_JOB.kind and one.namespace == key.namespace}
    return names | ({key.name} if key.kind == CRON_JOB.kind else set())
