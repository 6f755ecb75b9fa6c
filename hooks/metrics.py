"""The metrics of hooks and admission; docs/metrics.md says what each means."""

import math
import re
import time
from collections.abc import Callable, Sequence
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from hooks.capacity import STORE_FULL, SWEEP_STOPPED
from hooks.conditions import holds
from kube.types import Object

_SYNC = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_REVIEW = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2)
_OUR_RULE = re.compile(r"[A-Z][A-Za-z]{2,40}")
_MOST_RULES = 40
_STALE = 1500.0
"""Seconds for which a status is told on: Metacontroller asks one replica or another every ten minutes at least."""
_NUMBERS = (
    ("images", "images", "CachedImages of the cache."),
    ("cached_images", "cached", "Images that can be served from the cache."),
    ("failed_images", "failed", "Images whose copies fail."),
    ("images_at_risk", "atRisk", "Images in use that cannot be served from the cache."),
    ("images_gone_upstream", "goneUpstream", "Images in use that upstream does not have any more."),
    ("workloads_at_risk", "workloadsAtRisk", "Workloads with an image that is not safe, or gone upstream."),
    ("cached_image_bytes", "bytes", "Sizes of the cached images together, shared layers each time."),
)
_CONDITIONS = (
    ("store_full", STORE_FULL, "1 while a volume of the registry is full, or copies find no room."),
    ("sweep_stopped", SWEEP_STOPPED, "1 while a sweep waits for a person to confirm it."),
)


class HookMetrics:
    """A HookRecorder whose numbers are in `registry`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "kuik_hooks_requests_total",
            "Hooks called, by stage and what became of it.",
            ["hook", "stage", "outcome"],
            registry=registry,
        )
        self._seconds = Histogram(
            "kuik_hooks_request_seconds",
            "Seconds that a hook took, reading the request included.",
            ["hook", "stage"],
            buckets=_SYNC,
            registry=registry,
        )

        self._told: tuple[Object, float] = ({}, -math.inf)
        for name, field, meaning in _NUMBERS:
            gauge = Gauge(f"kuik_hooks_{name}", meaning, registry=registry)
            gauge.set_function(partial(self._number, field))
        for name, kind, meaning in _CONDITIONS:
            gauge = Gauge(f"kuik_hooks_{name}", meaning, registry=registry)
            gauge.set_function(partial(self._holds, kind))

    def cache(self, status: Object) -> None:
        """See HookRecorder."""
        self._told = (status, time.monotonic())

    def _number(self, field: str) -> float:
        status, at = self._told
        value = status.get(field)
        return float(value) if isinstance(value, int) and time.monotonic() - at < _STALE else math.nan

    def _holds(self, kind: str) -> float:
        status, at = self._told
        return float(holds({"status": status}, kind)) if time.monotonic() - at < _STALE else math.nan

    def hook(self, name: str, stage: str, outcome: str, seconds: float) -> None:
        """See HookRecorder."""
        self._requests.labels(name, stage, outcome).inc()
        self._seconds.labels(name, stage).observe(seconds)


class AdmissionMetrics:
    """An AdmissionRecorder whose numbers are in `registry`; `fit` says whether pods may be pointed to the proxies."""

    def __init__(self, registry: CollectorRegistry, fit: Callable[[], bool]) -> None:
        self._reviews = Counter(
            "kuik_admission_reviews_total", "Reviews answered.", ["mode", "result"], registry=registry
        )
        self._left = Counter(
            "kuik_admission_left_containers_total",
            "Containers whose image was left as it is, by the reason.",
            ["mode", "reason"],
            registry=registry,
        )
        self._seconds = Histogram(
            "kuik_admission_review_seconds", "Seconds that a review took.", ["mode"], buckets=_REVIEW, registry=registry
        )
        proxies = Gauge(
            "kuik_admission_proxies_fit", "1 while pods may be pointed to the node proxies.", registry=registry
        )
        proxies.set_function(lambda: float(fit()))
        self._rules: set[str] = set()

    def reviewed(self, mode: str, result: str, left: Sequence[str], seconds: float) -> None:
        """See AdmissionRecorder."""
        self._reviews.labels(mode, result).inc()
        self._seconds.labels(mode).observe(seconds)
        for rule in left:
            self._left.labels(mode, self._reason(rule)).inc()

    def _reason(self, rule: str) -> str:
        """Our own reasons by their names; a policy's rule, which people name, is `Policy`."""
        if not _OUR_RULE.fullmatch(rule) or (rule not in self._rules and len(self._rules) >= _MOST_RULES):
            return "Policy"
        self._rules.add(rule)
        return rule
