"""What hooks and admission tell of themselves, on a listener apart."""

import functools
from collections.abc import Callable

import click
from prometheus_client import CollectorRegistry

from telemetry.address import TelemetryAddress
from telemetry.exposition import metrics_page, registry_for
from telemetry.health import Health
from telemetry.listener import listen


class Telemetry:
    """Of one component (`hooks` or `admission`) in one process; `address` None tells nobody."""

    def __init__(self, component: str, address: TelemetryAddress | None) -> None:
        self.health = Health(component)
        self.registry: CollectorRegistry = registry_for(component)
        self._address = address

    def start(self) -> None:
        """Answer `/healthz`, `/readyz` and `/metrics`; to be called in the process that serves."""
        if self._address:
            page = functools.partial(metrics_page, self.registry)
            listen([self._address], {**self.health.pages(), "/metrics": page})


def read(_context: click.Context, _option: click.Parameter, told: str | None) -> TelemetryAddress | None:
    """An option's value; `none` and nothing are none."""
    if not told or told == "none":
        return None
    try:
        return TelemetryAddress.parse(told)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def option(default: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """`--telemetry`, the same for both programs."""
    return click.option(
        "--telemetry",
        "address",
        default=default,
        show_default=True,
        envvar="KUIK_TELEMETRY",
        callback=read,
        help="Where probes and metrics are answered: HOST:PORT, unix:PATH or none.",
    )
