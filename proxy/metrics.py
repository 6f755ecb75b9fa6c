"""The metrics of a component on the data path; docs/metrics.md says what each means."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from proxy.record import SERVED, Exchange
from proxy.story import NOT_ASKED
from telemetry.exposition import Children

UPSTREAM = "upstream"
"""The source that a registry itself is."""
_METHODS = ("GET", "HEAD")
_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_LONG = (0.001, 0.005, 0.025, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class PullMetrics:
    """A Recorder for `component` (`proxy` or `shield`) whose numbers are in `registry`."""

    def __init__(self, component: str, registry: CollectorRegistry) -> None:
        self.component = component
        self.registry = registry
        name = f"kuik_{component}"
        self._under_way = Gauge(f"{name}_requests_under_way", "Requests being answered now.", registry=registry)
        self._requests = Children(
            Counter(
                f"{name}_requests_total",
                "Requests answered, by who had the answer.",
                ["method", "kind", "source", "outcome"],
                registry=registry,
            )
        )
        self._bytes = Children(
            Counter(
                f"{name}_served_bytes_total", "Bytes of bodies sent to clients.", ["kind", "source"], registry=registry
            )
        )
        self._first = Children(
            Histogram(
                f"{name}_first_byte_seconds",
                "Seconds from a request to the first byte of its answer.",
                ["kind", "source"],
                buckets=_FAST,
                registry=registry,
            )
        )
        self._whole = Children(
            Histogram(
                f"{name}_request_seconds",
                "Seconds from a request to the last byte of its answer.",
                ["kind"],
                buckets=_LONG,
                registry=registry,
            )
        )
        self.served_bytes = 0
        self.spared_bytes = 0
        self.spared_manifests = 0

    def begun(self) -> None:
        """See Recorder."""
        self._under_way.inc()

    def asks(self, image: str) -> None:
        """See Recorder: a label for each image would have no bound."""

    def ended(self, exchange: Exchange) -> None:
        """See Recorder."""
        self._under_way.dec()
        method = exchange.method if exchange.method in _METHODS else "other"
        source = exchange.source or "none"
        self._requests(method, exchange.kind, source, exchange.outcome).inc()
        for giver, count in exchange.shares():
            if not exchange.rehearsed:
                self.served_bytes += count
                self.spared_bytes += count if giver != UPSTREAM else 0
            self._bytes(exchange.kind, giver).inc(count)
        got = exchange.kind == "manifests" and method == "GET" and exchange.outcome == SERVED
        if got and source != UPSTREAM and not exchange.rehearsed:
            self.spared_manifests += 1
        if exchange.source:
            self._first(exchange.kind, source).observe(exchange.first)
            self._whole(exchange.kind).observe(exchange.whole)


class ProxyMetrics(PullMetrics):
    """Those of a component that asks several sources."""

    def __init__(self, component: str, registry: CollectorRegistry) -> None:
        super().__init__(component, registry)
        name = f"kuik_{component}"
        self._waits = Children(
            Histogram(
                f"{name}_source_wait_seconds",
                "Seconds that a source took to answer, or to refuse.",
                ["source"],
                buckets=_FAST,
                registry=registry,
            )
        )
        self._asked = Children(
            Counter(
                f"{name}_source_answers_total",
                "What sources said when asked.",
                ["source", "outcome"],
                registry=registry,
            )
        )
        self._unchecked = Counter(
            f"{name}_unchecked_tags_total",
            "Tags told by a source that cannot know whether they moved.",
            registry=registry,
        )
        self._resumed = Children(
            Counter(
                f"{name}_resumed_transfers_total",
                "Transfers that broke in the middle and went on elsewhere.",
                ["broken", "source", "reason"],
                registry=registry,
            )
        )

    def ended(self, exchange: Exchange) -> None:
        """See Recorder."""
        super().ended(exchange)
        if exchange.tag and exchange.source == "registry" and not exchange.rehearsed:
            self._unchecked.inc()
        for asked in exchange.asked:
            self._asked(asked.source, asked.outcome).inc()
            if asked.outcome != NOT_ASKED:
                self._waits(asked.source).observe(asked.seconds)
        for resumed in exchange.resumed:
            self._resumed(resumed.broken, resumed.source, resumed.outcome).inc()
