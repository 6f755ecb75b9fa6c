"""The rescue Job: made while pods wait in vain for images that are reached under their other name."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hooks.attempts import ATTEMPT
from hooks.conditions import condition, holds
from hooks.facts import Group, Settings
from hooks.jobs import one_run, pod_spec, values
from hooks.usage import Wait
from kube.duration import left_of
from kube.types import Object, annotations, parse_time

ACCOUNT = "kuik-rescue"
TARGETS = "kuik.dev/targets"
NAMESPACES = "kuik.dev/namespaces"
_MOST = 50
"""Namespaces of one run."""
_DEADLINE = 300  # seconds
_FIRST_BACKOFF = 30.0
_MAX_BACKOFF = 600.0
_LABELS = {
    "app.kubernetes.io/name": "kube-image-keeper",
    "app.kubernetes.io/component": "rescue",
    "app.kubernetes.io/managed-by": "kube-image-keeper",
}


@dataclass(frozen=True, slots=True)
class Rescue:
    """The Job to have, if any, and the seconds until that may change by itself (0: never)."""

    job: Object | None = None
    resync: float = 0.0


def rescue(waits: Iterable[Wait], observed: Group, mode: str, settings: Settings, now: datetime) -> Rescue:
    """A Job for those who wait; one that runs is let end, and the next attempt follows after a growing pause."""
    running = next((job for job in observed.values() if not _ended(job)), None)
    if running is not None:
        noted = annotations(running)
        namespaces = str(noted.get(NAMESPACES, "")).split()
        return Rescue(_job(str(noted.get(TARGETS, "")), _attempt(running), namespaces, mode, settings))
    targets = sorted(waits)
    if not targets:
        return Rescue()
    text = json.dumps([[one.namespace, one.image, one.name] for one in targets])
    digits = hashlib.sha256(text.encode()).hexdigest()[:10]
    before = [job for job in observed.values() if annotations(job).get(TARGETS) == digits]
    last = max(before, key=_attempt, default=None)
    if last is None:
        return Rescue(_job(digits, 1, _turn(targets, digits, 1), mode, settings))
    number = _attempt(last)
    pause = min(_MAX_BACKOFF, _FIRST_BACKOFF * 2 ** min(number - 1, 10))
    ended = parse_time((condition(last, "Complete") or condition(last, "Failed") or {}).get("lastTransitionTime"))
    left = left_of(pause, ended, now) if ended else 0.0
    if left > 0:
        return Rescue(_job(digits, number, _turn(targets, digits, number), mode, settings), left)
    return Rescue(_job(digits, number + 1, _turn(targets, digits, number + 1), mode, settings))


def _turn(targets: Iterable[Wait], digits: str, attempt: int) -> list[str]:
    """The namespaces of one attempt, where there are too many for one: each has its turn, wherever the first began."""
    names = sorted({one.namespace for one in targets})
    start = (int(digits, 16) + (attempt - 1) * _MOST) % len(names) if len(names) > _MOST else 0
    return (names[start:] + names[:start])[:_MOST]


def _ended(job: Object) -> bool:
    return holds(job, "Complete") or holds(job, "Failed")


def _attempt(job: Object) -> int:
    text = str(annotations(job).get(ATTEMPT, ""))
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 1


def _job(digits: str, attempt: int, namespaces: list[str], mode: str, settings: Settings) -> Mapping[str, Any]:
    words = [word for namespace in namespaces for word in ("--namespace", namespace)]
    arguments = ["kuik.rescue", "--mode", mode, *words]
    noted = {TARGETS: digits, ATTEMPT: str(attempt), NAMESPACES: " ".join(namespaces)}
    meta = {
        "name": f"kuik-rescue-{digits}-{attempt}",
        "namespace": settings.job.namespace,
        "labels": dict(_LABELS),
        "annotations": noted,
    }
    return one_run(
        meta, _DEADLINE, pod_spec(ACCOUNT, "rescue", arguments, settings.job, values(_environment(settings)))
    )


def _environment(settings: Settings) -> Mapping[str, str]:
    """What the rescue Job has to know to decide as admission does."""
    said = {
        "KUIK_PROXY": settings.proxy,
        "KUIK_PLAIN_HTTP": " ".join(sorted(settings.plain_http)),
        "KUIK_METACONTROLLER_NAMESPACE": settings.metacontroller_namespace,
    }
    return {name: value for name, value in said.items() if value}  # the API server drops empty ones
