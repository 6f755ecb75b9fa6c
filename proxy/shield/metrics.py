"""The metrics that only a shield has, read from its tally at each scrape; docs/metrics.md says what each means."""

from collections.abc import Callable, Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from proxy.health import Disk
from proxy.shield.origin import Shield, Tally
from proxy.telemetry import Telemetry


def tell(told: Telemetry, shield: Shield) -> None:
    """Let a component's telemetry tell of its shield."""
    told.breakers(shield.breakers, ())
    told.health.check("spool", Disk(shield.spool.folder.parent).check)
    told.registry.register(ShieldMetrics(shield.tally))


class ShieldMetrics(Collector):
    """Costs nothing between scrapes."""

    def __init__(self, tally: Callable[[], Tally]) -> None:
        self._tally = tally

    def collect(self) -> Iterable[Metric]:
        """All of them."""
        tally = self._tally()
        spool, blobs = tally.spool, tally.blobs
        damaged = CounterMetricFamily(
            "kuik_shield_damaged", "Content that was not what its digest says.", labels=["where"]
        )
        damaged.add_metric(["spool"], spool.damaged)
        damaged.add_metric(["upstream"], blobs.damaged)
        joined = CounterMetricFamily("kuik_shield_joined_requests", "Requests that shared another's.", labels=["kind"])
        joined.add_metric(["blobs"], blobs.joined)
        joined.add_metric(["manifests"], tally.joined)
        return [
            GaugeMetricFamily("kuik_shield_spool_used_bytes", "Bytes in the spool, or promised to it.", spool.used),
            GaugeMetricFamily("kuik_shield_spool_capacity_bytes", "Bytes that the spool may hold.", spool.capacity),
            GaugeMetricFamily("kuik_shield_spool_entries", "Blobs and manifests in the spool.", spool.entries),
            CounterMetricFamily("kuik_shield_spool_evictions", "Entries that left for others.", spool.evictions),
            CounterMetricFamily("kuik_shield_spool_evicted_bytes", "Bytes that left for others.", spool.evicted_bytes),
            GaugeMetricFamily("kuik_shield_fetches_under_way", "Blobs on their way from upstream now.", blobs.fetches),
            CounterMetricFamily(
                "kuik_shield_upstream_resumed", "Transfers that went on where they broke.", blobs.resumed
            ),
            CounterMetricFamily("kuik_shield_stale_tags", "Tags told though upstream could not be asked.", tally.stale),
            joined,
            damaged,
        ]
