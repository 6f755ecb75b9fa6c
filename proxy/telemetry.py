"""What proxy and shield tell of themselves, on a listener apart from the one that serves pulls."""

import argparse
import time
from collections.abc import Sequence
from functools import partial

from prometheus_client import Gauge

from proxy.breaker import Breakers
from proxy.health import sources
from proxy.metrics import ProxyMetrics, PullMetrics
from proxy.pulls import Pulls, Several
from proxy.record import Recorder
from proxy.savings import Totals
from proxy.suspicion import Suspicion
from proxy.upstream_metrics import BreakerMetrics, DamageMetrics, UpstreamMetrics
from telemetry import logs
from telemetry.address import TelemetryAddress
from telemetry.exposition import metrics_page, registry_for
from telemetry.health import Health
from telemetry.listener import listen


class Telemetry:
    """Of one component (`proxy` or `shield`) in one process; nothing is started before `start()`."""

    def __init__(self, component: str, addresses: Sequence[TelemetryAddress] = ()) -> None:
        self.component = component
        self.health = Health(component)
        self.registry = registry_for(component)
        self.metrics = (ProxyMetrics if component == "proxy" else PullMetrics)(component, self.registry)
        self.upstream = UpstreamMetrics(component, self.registry)
        self.recorder: Recorder = Several((self.metrics, Pulls()))
        self._addresses = addresses
        saved = Gauge(f"kuik_{component}_saved_bytes", "Bytes served less those from upstream.", registry=self.registry)
        saved.set_function(lambda: self.metrics.served_bytes - self.upstream.received_bytes)

    def served(self) -> Totals:
        """What was given to clients and did not come from upstream."""
        return Totals(self.metrics.spared_bytes, self.metrics.spared_manifests)

    def fetched(self) -> Totals:
        """What came from upstream."""
        return Totals(self.upstream.received_bytes, self.upstream.manifests)

    def start(self) -> None:
        """Answer `/healthz`, `/readyz` and `/metrics`; to be called in the process that serves, before it does."""
        if self._addresses:
            listen(self._addresses, {**self.health.pages(), "/metrics": partial(metrics_page, self.registry)})

    def breakers(self, breakers: Breakers, always: Sequence[str]) -> None:
        """Tell of sources that fail; those of `always` are told of as long as they do not, too."""
        self.health.check("sources", lambda: sources(always, breakers.open_ones(), time.monotonic()))
        self.registry.register(BreakerMetrics(self.component, always, breakers.open_ones, self.upstream.label))

    def damage(self, suspicion: Suspicion, always: Sequence[str]) -> None:
        """Tell of sources whose bytes were found damaged."""
        self.registry.register(DamageMetrics(always, suspicion.tally, self.upstream.label))


def add_options(options: argparse.ArgumentParser, default: str) -> None:
    """`--telemetry` and those of the log, the same for both components."""
    logs.add_options(options)
    options.add_argument(
        "--telemetry",
        action="append",
        type=_address,
        metavar="ADDRESS",
        help=f"where probes and metrics are answered: HOST:PORT, unix:PATH or none; default {default}",
    )
    options.set_defaults(telemetry_default=default)


def of_options(component: str, given: argparse.Namespace) -> Telemetry:
    """What the options say."""
    addresses = [TelemetryAddress.parse(given.telemetry_default)] if given.telemetry is None else given.telemetry
    return Telemetry(component, [address for address in addresses if address])


def _address(text: str) -> TelemetryAddress | None:
    """An option's value; argparse tells the error."""
    if text == "none":
        return None
    try:
        return TelemetryAddress.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
