"""What proxy and shield tell of themselves, on a listener apart from the one that serves pulls."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from proxy.metrics import PullMetrics
from telemetry.address import TelemetryAddress
from telemetry.exposition import metrics_page, registry_for
from telemetry.health import Health
from telemetry.listener import listen


@dataclass
class Telemetry:
    """Of one component (`proxy` or `shield`) in one process; nothing is started before `start()`."""

    component: str
    addresses: Sequence[TelemetryAddress] = ()
    health: Health = field(init=False)
    metrics: PullMetrics = field(init=False)

    def __post_init__(self) -> None:
        self.health = Health(self.component)
        self.metrics = PullMetrics(self.component, registry_for(self.component))

    def start(self) -> None:
        """Answer `/healthz`, `/readyz` and `/metrics`; to be called in the process that serves, before it does."""
        if self.addresses:
            listen(self.addresses, {**self.health.pages(), "/metrics": partial(metrics_page, self.metrics.registry)})


def add_option(options: argparse.ArgumentParser, default: str) -> None:
    """`--telemetry`, the same for both components."""
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
