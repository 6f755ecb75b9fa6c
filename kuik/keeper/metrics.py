"""The keeper's metrics and probes; docs/metrics.md says what each means."""

import functools
from collections.abc import Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from kuik.keeper.tally import Tally
from telemetry.address import TelemetryAddress
from telemetry.exposition import metrics_page, registry_for
from telemetry.health import Health
from telemetry.listener import listen


class KeeperMetrics(Collector):
    """A tally as metrics, read at each scrape."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def collect(self) -> Iterable[Metric]:
        """See Collector."""
        tally = self._tally
        room = (
            ("used", "Bytes that the volume's blobs take up.", tally.room.used),
            ("capacity", "Bytes that the volume may hold.", tally.room.capacity),
            ("free", "Bytes of room that is left.", tally.room.free),
        )
        for name, what, value in room:
            if value is not None:
                yield GaugeMetricFamily(f"kuik_keeper_volume_{name}_bytes", what, value)
        yield GaugeMetricFamily("kuik_keeper_loose_tags", "Tags that stand for no CachedImage.", tally.loose_tags)
        yield GaugeMetricFamily("kuik_keeper_sweep_stopped", "Whether a sweep waits.", int(tally.sweep_stopped))
        yield CounterMetricFamily("kuik_keeper_removed_tags", "Tags removed.", tally.removed_tags)
        collections = CounterMetricFamily("kuik_keeper_collections", "Garbage collections.", labels=["outcome"])
        collections.add_metric(["Done"], tally.collections - tally.failed_collections)
        collections.add_metric(["Failed"], tally.failed_collections)
        yield collections
        yield CounterMetricFamily("kuik_keeper_freed_bytes", "Bytes freed by collections.", tally.freed_bytes)
        yield CounterMetricFamily(
            "kuik_keeper_writer_away_seconds",
            "Seconds for which collections kept copies waiting.",
            tally.writer_away_seconds,
        )
        yield CounterMetricFamily("kuik_keeper_hashed_bytes", "Bytes hashed again.", tally.hashed_bytes)
        found = CounterMetricFamily("kuik_keeper_found_images", "Images found not to be whole.", labels=["state"])
        found.add_metric(["Damaged"], tally.damaged_images)
        found.add_metric(["Missing"], tally.missing_images)
        yield found
        yield CounterMetricFamily("kuik_keeper_healed_images", "Images made whole without upstream.", tally.healed)
        yield CounterMetricFamily("kuik_keeper_failed_rounds", "Rounds that could not be done.", tally.failed_rounds)


class KeeperTelemetry:
    """Probes and metrics of one keeper; `address` None tells nobody."""

    def __init__(self, address: TelemetryAddress | None, tally: Tally) -> None:
        self.health = Health("keeper")
        self.registry: CollectorRegistry = registry_for("keeper")
        self.registry.register(KeeperMetrics(tally))
        self._address = address

    def start(self) -> None:
        """Answer `/healthz`, `/readyz` and `/metrics`."""
        if self._address:
            page = functools.partial(metrics_page, self.registry)
            listen([self._address], {**self.health.pages(), "/metrics": page})
