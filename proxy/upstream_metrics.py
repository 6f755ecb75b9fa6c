"""The metrics of what a component asks of upstream registries; docs/metrics.md says what each means."""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from proxy.breaker import Breaker
from proxy.registries import OTHER, KnownRegistries
from registry.watching import Sent

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_USEFUL = ("manifests", "blobs", "tags")


class UpstreamMetrics:
    """A transport's Watcher for `component`, whose numbers are in `registry`."""

    def __init__(self, component: str, registry: CollectorRegistry) -> None:
        name = f"kuik_{component}_upstream"
        self._known = KnownRegistries()
        self._requests = Counter(
            f"{name}_requests_total",
            "HTTP requests sent to upstream registries.",
            ["registry", "kind", "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            f"{name}_wait_seconds",
            "Seconds until upstream answered, connecting included.",
            ["registry", "kind"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._bytes = Counter(
            f"{name}_received_bytes_total", "Bytes of bodies that upstream sent.", ["registry"], registry=registry
        )
        self._remaining = Gauge(
            f"{name}_rate_limit_remaining", "What the registry last said is left.", ["registry"], registry=registry
        )
        self._limit = Gauge(
            f"{name}_rate_limit", "What the registry last said it allows.", ["registry"], registry=registry
        )
        self.received_bytes = 0
        self.manifests = 0

    def asked(self, sent: Sent) -> None:
        """See Watcher."""
        if sent.status and sent.status < 300 and sent.kind in _USEFUL:
            self._known.of_use(sent.registry)
        if sent.status and sent.status < 400 and sent.kind == "manifests" and sent.method == "GET":
            self.manifests += 1
        registry = self._known.label(sent.registry)
        self._requests.labels(registry, sent.kind, _status(sent.status)).inc()
        self._seconds.labels(registry, sent.kind).observe(sent.seconds)
        if registry != OTHER:
            _tell(self._remaining, registry, sent.headers.get("RateLimit-Remaining"))
            _tell(self._limit, registry, sent.headers.get("RateLimit-Limit"))

    def received(self, registry: str, count: int) -> None:
        """See Watcher."""
        self.received_bytes += count
        self._bytes.labels(self._known.label(registry)).inc(count)

    def label(self, host: str) -> str:
        """The host as a label's value."""
        return self._known.label(host)


class BreakerMetrics(Collector):
    """Which sources are left alone now: those of `always`, and others while they are. `label` bounds the others."""

    def __init__(
        self,
        component: str,
        always: Iterable[str],
        open_ones: Callable[[], Mapping[str, Breaker]],
        label: Callable[[str], str],
    ) -> None:
        self._name = f"kuik_{component}_breakers_open"
        self._always = tuple(always)
        self._open_ones = open_ones
        self._label = label

    def collect(self) -> Iterable[Metric]:
        """One sample a source."""
        family = GaugeMetricFamily(self._name, "Sources that are left alone since they fail.", labels=["source"])
        counts = dict.fromkeys(self._always, 0)
        for name in self._open_ones():
            source = name.partition(" (")[0]
            source = source if source in counts else self._label(source)
            counts[source] = counts.get(source, 0) + 1
        for source, count in counts.items():
            family.add_metric([source], count)
        return [family]


class DamageMetrics(Collector):
    """Sources that a node proxy found to have other bytes than they should, read at each scrape."""

    def __init__(
        self, always: Iterable[str], tally: Callable[[], Mapping[str, int]], label: Callable[[str], str]
    ) -> None:
        self._always = tuple(always)
        self._tally = tally
        self._label = label

    def collect(self) -> Iterable[Metric]:
        """One sample a source."""
        counts = dict.fromkeys(self._always, 0)
        for name, found in self._tally().items():
            source = name if name in counts else self._label(name)
            counts[source] = counts.get(source, 0) + found
        family = CounterMetricFamily("kuik_proxy_damaged", "Blobs that a source had damaged.", labels=["source"])
        for source, count in counts.items():
            family.add_metric([source], count)
        return [family]


def _status(status: int | None) -> str:
    """The class of a status; 429 for itself, as it is what quotas are seen by."""
    return "none" if status is None else "429" if status == 429 else f"{status // 100}xx"


def _tell(gauge: Gauge, registry: str, header: str | None) -> None:
    """`76;w=21600` is 76 in 6 hours."""
    number = (header or "").partition(";")[0].strip()
    if number.isdecimal() and len(number) < 10:
        gauge.labels(registry).set(int(number))
