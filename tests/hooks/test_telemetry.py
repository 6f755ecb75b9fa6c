"""What hooks and admission count equals what was asked of them, and each tells of itself on a listener apart."""

import http.client
import json
import math
import os
import subprocess
import sys
import time

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from hooks.admission_app import Judge
from hooks.admission_app import create_app as create_admission_app
from hooks.app import create_app
from hooks.asking import Asking
from hooks.containers import Obstacle
from hooks.facts import Known, Settings
from hooks.metrics import AdmissionMetrics, HookMetrics
from hooks.observe import Observer
from hooks.stages import STAGES
from tests.hooks import golden
from tests.hooks.test_admission import World, pod, review
from tests.rig.numbers import Numbers
from tests.rig.processes import free_port, listening, wait_until


def scraped(registry: CollectorRegistry) -> Numbers:
    return Numbers.parse(generate_latest(registry).decode())


def a_sync() -> tuple[str, dict[str, object]]:
    observed = golden.read(golden.CASES / "imagecache" / "unused" / "observed.yaml")
    stage = STAGES["imagecache"]
    related = observed.get("related") or []
    return stage.name, golden.request(stage, observed["parent"], observed.get("children") or [], related)


def test_hooks_are_counted_by_stage_and_by_what_became_of_them() -> None:
    registry = CollectorRegistry()
    client = create_app(Observer(Settings()), counted=HookMetrics(registry)).test_client()
    stage, request = a_sync()
    assert client.post(f"/sync/{stage}", json=request).status_code == 200
    assert client.post(f"/sync/{stage}", json={"controller": {}}).status_code == 500
    assert client.post(f"/sync/{stage}", data=b"no JSON").status_code == 400
    assert client.post(f"/customize/{stage}", json={"parent": request["parent"]}).status_code == 200
    assert client.post("/sync/whatever/else").status_code == 404
    assert client.post("/sync/whatever").status_code == 404
    numbers, name = scraped(registry), "kuik_hooks_requests_total"
    assert numbers.by(name, "outcome", hook="sync", stage=stage) == {"Answered": 1, "Unreadable": 1, "Refused": 1}
    assert numbers.by(name, "outcome", hook="customize") == {"Answered": 1}
    assert numbers.by(name, "stage", outcome="Refused") == {stage: 1, "unknown": 1}
    assert numbers.total("kuik_hooks_request_seconds_count", stage=stage) == 4


def test_reviews_are_counted_by_result_and_containers_left_by_our_own_reasons() -> None:
    registry, world = CollectorRegistry(), World()
    metrics = AdmissionMetrics(registry, lambda: world.unfit is None)
    asking = Asking(lambda _reference: Known("public"), patience=5)
    judge = Judge(Settings(), world, asking, lambda: b"k" * 32)
    client = create_admission_app(judge, lambda: True, metrics).test_client()
    assert client.post("/admit/on", json=review()).status_code == 200
    assert client.post("/admit/on", json=review(pod("localhost:5000/a", "nginx"))).status_code == 200
    assert client.post("/admit/on", json=review(operation="UPDATE")).status_code == 200
    assert client.post("/admit/on", json={"kind": "AdmissionReview"}).status_code == 500
    world.unfit = Obstacle("ProxiesUnfit", "none is ready")
    assert client.post("/admit/audit", json=review()).status_code == 200
    numbers = scraped(registry)
    results = numbers.by("kuik_admission_reviews_total", "result", mode="on")
    assert results == {"Patched": 2, "NothingAsked": 1, "Unreadable": 1}
    reasons = numbers.by("kuik_admission_left_containers_total", "reason")
    assert reasons == {"LoopbackRegistry": 1, "ProxiesUnfit": 1}
    assert numbers.total("kuik_admission_proxies_fit") == 0
    assert numbers.total("kuik_admission_review_seconds_count") == 5


def test_a_rule_that_people_named_is_no_label() -> None:
    registry = CollectorRegistry()
    metrics = AdmissionMetrics(registry, lambda: True)
    rules = ["ClusterCachePolicy platform, rule operators", "CachePolicy/a", "x" * 50, "PodLabel"]
    metrics.reviewed("on", "LeftAlone", rules, 0.1)
    metrics.reviewed("on", "LeftAlone", [f"Rule{chr(65 + n // 26)}{chr(65 + n % 26)}" for n in range(100)], 0.1)
    numbers = scraped(registry)
    reasons = numbers.by("kuik_admission_left_containers_total", "reason")
    assert len(reasons) == 41
    assert reasons["Policy"] == 3 + 61


def test_the_process_tells_of_itself_on_a_port_apart() -> None:
    port, apart = free_port(), free_port()
    command = [sys.executable, "-m", "hooks", "--listen", f"127.0.0.1:{port}", "--telemetry", f"127.0.0.1:{apart}"]
    process = subprocess.Popen(command, env=os.environ | {"KUIK_LOG_LEVEL": "warning"})
    try:
        wait_until(lambda: listening(port) and listening(apart), "the hooks listen")
        wait_until(lambda: ask(apart, "GET", "/readyz")[0] == 200, "they are ready")
        stage, request = a_sync()
        assert ask(port, "POST", f"/sync/{stage}", json.dumps(request))[0] == 200
        numbers = Numbers.parse(ask(apart, "GET", "/metrics")[1])
    finally:
        process.terminate()
        assert process.wait(30) == 0
    assert numbers.total("kuik_hooks_requests_total", stage=stage, outcome="Answered") == 1
    assert numbers.total("kuik_hooks_build_info") == 1


def ask(port: int, method: str, path: str, body: str | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
    answer = connection.getresponse()
    found = answer.status, answer.read().decode()
    connection.close()
    return found


def test_the_status_of_the_cache_is_told_as_numbers_until_it_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = CollectorRegistry()
    counted = HookMetrics(registry)

    def told(name: str) -> float | None:
        return registry.get_sample_value(f"kuik_hooks_{name}")

    assert math.isnan(told("workloads_at_risk") or 0.0), "nothing is known yet"
    conditions = [{"type": "StoreFull", "status": "True"}, {"type": "SweepStopped", "status": "False"}]
    counted.cache({"images": 5, "cached": 3, "workloadsAtRisk": 2, "bytes": 7, "conditions": conditions})
    found = [told(name) for name in ("images", "cached_images", "workloads_at_risk", "cached_image_bytes")]
    assert found == [5, 3, 2, 7]
    assert (told("store_full"), told("sweep_stopped")) == (1, 0)
    later = time.monotonic() + 1501
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert math.isnan(told("images") or 0.0), "another replica is asked since"
