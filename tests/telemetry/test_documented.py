"""docs/metrics.md says of every metric its type, labels and meaning, and of none that is not there."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.metrics import MetricWrapperBase

from hooks.metrics import AdmissionMetrics, HookMetrics
from hooks.telemetry import Telemetry as HooksTelemetry
from kuik.keeper.metrics import KeeperTelemetry
from kuik.keeper.tally import Tally as KeeperTally
from kuik.keeper.volume import Room
from proxy.breaker import Breakers
from proxy.shield.blobs import BlobTally
from proxy.shield.metrics import ShieldMetrics
from proxy.shield.origin import Tally
from proxy.shield.spool import SpoolTally
from proxy.suspicion import Suspicion
from proxy.telemetry import Telemetry

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
ROW = re.compile(r"^\| `(kuik_\w+)` \| (counter|gauge|histogram) \|([^|]*)\| ([^|]+) \|$", re.MULTILINE)
TALLY = Tally(SpoolTally(0, 0, 0, 0, 0, 0), BlobTally(0, 0, 0, 0), 0, 0)


def registries() -> Iterator[CollectorRegistry]:
    """What every component tells when it runs."""
    for component in ("proxy", "shield"):
        told = Telemetry(component)
        told.breakers(Breakers(), ["registry at registry:5000"])
        if component == "proxy":
            told.damage(Suspicion(), ["registry at registry:5000"])
        if component == "shield":
            told.registry.register(ShieldMetrics(lambda: TALLY))
        yield told.registry
    hooks, admission = HooksTelemetry("hooks", None), HooksTelemetry("admission", None)
    HookMetrics(hooks.registry)
    AdmissionMetrics(admission.registry, lambda: True)
    yield hooks.registry
    yield admission.registry
    yield KeeperTelemetry(None, KeeperTally(room=Room(1, 2, 1))).registry


def labels_of(registry: CollectorRegistry, metric: Metric) -> frozenset[str]:
    """Those that its code declares; a metric that is read at a scrape shows them in its samples."""
    for collector, names in registry._collector_to_names.items():
        if metric.name in names and isinstance(collector, MetricWrapperBase):
            return frozenset(collector._labelnames)
    return frozenset(label for sample in metric.samples for label in sample.labels)


def there() -> dict[str, tuple[str, frozenset[str]]]:
    """Type and labels by name."""
    found = {}
    for registry in registries():
        for metric in registry.collect():
            if metric.name.startswith("kuik_"):
                name = metric.name + ("_total" if metric.type == "counter" else "")
                found[name] = (metric.type, labels_of(registry, metric))
    return found


def documented() -> dict[str, tuple[str, frozenset[str]]]:
    rows = ROW.findall(PAGE.read_text(encoding="utf-8"))
    assert len(rows) == len({name for name, _, _, _ in rows}), "a metric is documented twice"
    return {name: (kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels, _ in rows}


def test_every_metric_is_documented_with_its_type_and_labels_and_no_other() -> None:
    assert documented() == there()


def test_queries_and_alerts_name_metrics_that_are_there() -> None:
    text = PAGE.read_text(encoding="utf-8")
    examples = "".join(re.findall(r"```(?:promql|yaml)\n(.*?)```", text, re.DOTALL))
    named = {re.sub(r"_bucket$", "", name) for name in re.findall(r"\bkuik_\w+", examples)}
    assert len(named) > 8
    assert named <= documented().keys()


def test_alerts_are_rules_that_prometheus_reads() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    rules = yaml.safe_load(text)["groups"][0]["rules"]
    assert len(rules) >= 6
    for rule in rules:
        assert rule.keys() <= {"alert", "expr", "for", "annotations", "labels"}
        assert rule["annotations"]["summary"]
        assert rule["expr"].count("(") == rule["expr"].count(")")


@pytest.mark.parametrize("name", sorted(documented()))
def test_names_follow_the_conventions(name: str) -> None:
    kind, _ = documented()[name]
    assert re.fullmatch(r"kuik_(proxy|shield|hooks|admission|keeper)_[a-z_]+", name)
    assert name.endswith("_total") == (kind == "counter")
    assert name.endswith("_seconds") == (kind == "histogram")
