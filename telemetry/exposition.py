"""A registry of metrics as the page `/metrics`."""

import platform
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics import MetricWrapperBase

from telemetry.page import Page
from telemetry.version import VERSION

M = TypeVar("M", bound=MetricWrapperBase)


class Children(Generic[M]):
    """A metric's children by their labels' values, found again without the library's checks, which cost most."""

    def __init__(self, metric: M) -> None:
        self._metric = metric
        self._known: dict[tuple[str, ...], M] = {}

    def __call__(self, *values: str) -> M:
        """The child; the first call makes it."""
        child = self._known.get(values)
        if child is None:
            child = self._known[values] = self._metric.labels(*values)
        return child


def registry_for(component: str) -> CollectorRegistry:
    """A registry that holds the process's own metrics and `kuik_<component>_build_info`."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    build = Gauge(f"kuik_{component}_build_info", "What runs here; always 1.", ["version", "python"], registry=registry)
    build.labels(VERSION, platform.python_version()).set(1)
    return registry


def metrics_page(registry: CollectorRegistry) -> Page:
    """Everything in it, in the text format."""
    return Page(200, CONTENT_TYPE_PLAIN_0_0_4, generate_latest(registry))
