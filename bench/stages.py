"""How long stage 1 takes for a namespace, and how that grows with its pods."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from bench.figures import Figure, Result, growth
from bench.setting import Setting
from hooks.facts import Context
from hooks.messages import answer
from hooks.stages import STAGES

_PODS = (250, 500, 1000, 2000)
_LEAST = 4
_PODS_OF_A_WORKLOAD = 5
_TIMES = 5
_STAGE = STAGES["inventory"]
_NAMESPACE = "shop"


def measure(setting: Setting) -> Result:
    """Milliseconds of a sync, from the request as it was read from JSON to the answer before it is written."""
    sizes = [max(int(pods * setting.scale), _LEAST * (at + 1)) for at, pods in enumerate(_PODS)]
    setting.say(f"stages: inventories of {', '.join(map(str, sizes))} pods")
    requests = [_request(pods) for pods in sizes]
    rounds = [[_milliseconds(request) for request in requests] for _ in range(setting.rounds)]
    figures = [
        Figure(f"sync of {pods} pods", "ms", tuple(times[at] for times in rounds)) for at, pods in enumerate(sizes)
    ]
    exponents = tuple(growth(sizes, times) for times in rounds)
    figures.append(Figure("growth: time as pods to the power of", "", exponents))
    return Result("stages: inventory of a namespace", "none: nobody else has this stage", tuple(figures))


def _milliseconds(request: Mapping[str, Any]) -> float:
    """The shortest of a few, since whatever else runs only adds."""
    context = Context(datetime.now(UTC))
    times = []
    for _ in range(_TIMES):
        begun = time.perf_counter()
        answer(_STAGE, request, context)
        times.append(time.perf_counter() - begun)
    return min(times) * 1000


def _request(pods: int) -> dict[str, Any]:
    """A sync request as Metacontroller sends it: every workload has its own images and several pods."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _NAMESPACE}}
    related: dict[str, dict[str, Any]] = {rule.resource.group: {} for rule in _STAGE.customize(namespace)}
    for number in range(pods):
        pod = _pod(number)
        related["Pod.v1"][f"{_NAMESPACE}/{pod['metadata']['name']}"] = pod
    attachments: dict[str, dict[str, Any]] = {child.group: {} for child in _STAGE.children}
    return {"object": namespace, "attachments": attachments, "related": related}


def _pod(number: int) -> dict[str, Any]:
    workload = number // _PODS_OF_A_WORKLOAD
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"app{workload}-5d8f", "uid": f"u{workload}"}
    images = (f"registry.example.com/team/app{workload}:1.{workload}", "docker.io/library/sidecar:2")
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"app{workload}-5d8f-{number}",
            "namespace": _NAMESPACE,
            "labels": {"app": f"app{workload}", "pod-template-hash": "5d8f"},
            "ownerReferences": [owner | {"controller": True}],
        },
        "spec": {
            "containers": [{"name": f"c{at}", "image": image} for at, image in enumerate(images)],
            "imagePullSecrets": [{"name": "pull"}],
        },
        "status": {"phase": "Running"},
    }
