"""How long a pod waits for admission, beside a webhook that does nothing on the same server."""

import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from queue import SimpleQueue

from bench.clients import WrongAnswer
from bench.figures import Figure, Result, percentile
from bench.measure import MIB, Peak
from bench.setting import Setting
from tests.rig.processes import free_port, listening, stop, wait_until

_RATE = 100.0
_SECONDS = 10.0
_LEAST = 50
_CLIENTS = 16
_ENV = [{"name": f"SETTING_{at}", "value": "x" * 60} for at in range(40)]


def measure(setting: Setting) -> Result:
    """Milliseconds from when a request is due, at 100 a second whether or not those before were answered."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "bench.admission_target", str(port)])
    try:
        wait_until(lambda: listening(port), "admission listens")
        count = max(int(_RATE * _SECONDS * setting.scale), _LEAST)
        setting.say(f"admission: {count} reviews at {_RATE:.0f} a second, with 200 rules")
        _times(port, "/admit/on", _LEAST)
        ours: list[list[float]] = []
        peer: list[list[float]] = []
        with Peak(process.pid) as peak:
            for _ in range(setting.rounds):
                peer.append(_times(port, "/nothing", count))
                ours.append(_times(port, "/admit/on", count))
    finally:
        stop(process)
    figures = [Figure(f"p{round(share * 100)}", "ms", _at(ours, share), _at(peer, share)) for share in (0.5, 0.99)]
    memory = Figure("memory at its highest, both", "MiB", (peak.bytes / MIB,))
    return Result("admission: 200 rules, 100 pods a second", "a webhook that does nothing", (*figures, memory))


def _at(rounds: Sequence[Sequence[float]], share: float) -> tuple[float, ...]:
    return tuple(percentile(times, share) * 1000 for times in rounds)


def _times(port: int, path: str, count: int) -> list[float]:
    """Seconds of each request since it was due; at most 16 are open, and who waits for a turn has waited."""
    due: SimpleQueue[float | None] = SimpleQueue()
    times: list[float] = []
    wrong: list[str] = []

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        while (moment := due.get()) is not None:
            try:
                connection.request("POST", path, _BODY, {"Content-Type": "application/json"})
                response = connection.getresponse()
                answered = response.read()
            except (OSError, http.client.HTTPException) as error:
                wrong.append(f"{path}: {error}")
                connection.close()
                continue
            times.append(time.perf_counter() - moment)
            if response.status != 200 or (b"patch" in answered) != path.startswith("/admit"):
                wrong.append(f"{path}: {response.status} {answered[:200]!r}")
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(_CLIENTS)]
    for thread in threads:
        thread.start()
    begun = time.perf_counter()
    for number in range(count):
        moment = begun + number / _RATE
        time.sleep(max(moment - time.perf_counter(), 0))
        due.put(moment)
    for _ in threads:
        due.put(None)
    for thread in threads:
        thread.join()
    if wrong:
        raise WrongAnswer(wrong[0])
    return times


def _review() -> bytes:
    containers = [{"name": f"c{at}", "image": f"registry.example.com/team/app{at}:1", "env": _ENV} for at in range(3)]
    pod = {
        "metadata": {"generateName": "web-5d8f-", "labels": {"app": "web", "tier": "web", "pod-template-hash": "5d8f"}},
        "spec": {"containers": containers, "imagePullSecrets": [{"name": "pull"}]},
    }
    request = {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "operation": "CREATE",
        "namespace": "shop",
        "object": pod,
    }
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).encode()


_BODY = _review()
