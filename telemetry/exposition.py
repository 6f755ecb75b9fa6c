"""A registry of metrics as the page `/metrics`."""

import platform

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from telemetry.page import Page
from telemetry.version import VERSION


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
