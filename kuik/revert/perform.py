"""Puts images back pod by pod, and evicts pods so that their controllers make new ones, one at a time a workload."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from kube.client import Api, KubernetesError
from kube.paths import KINDS
from kube.types import Object, metadata
from kuik.rescue.decision import World, back_to_originals
from kuik.rescue.perform import CHANGED, DONE, FAILED, perform, pods_of
from kuik.revert.decision import EVICT, Holder, by_workload, holder, ready_pods

EVICTED = "Evicted"
REFUSED = "Refused"
"""A disruption budget did not let the pod go in time."""
SLOW = "Slow"
"""The pod went, and its workload did not become as ready as it was in time: its other pods are left alone."""
STILL = "StillRewritten"
"""The new pod has the proxy's names again: the others are left alone."""

_GONE = frozenset({404, 409})
_PODS = KINDS["Pod"]


@dataclass(frozen=True, slots=True)
class Pace:
    """How evictions go on: seconds that each step of a workload may take and between looks, and workloads at a time."""

    patience: float = 300.0
    pause: float = 2.0
    parallel: int = 4


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one pod: Done, Evicted, ChangedMeanwhile, Refused, Slow, StillRewritten or Failed."""

    namespace: str
    pod: str
    workload: str
    result: str
    message: str = ""


def holders(api: Api, namespaces: Sequence[str], world: World) -> list[Holder]:
    """Every pod that still needs the proxy, of these namespaces or, without any, of all; raises KubernetesError."""
    return sorted(
        (found for pod in _pods(api, namespaces) if (found := holder(pod, world)) is not None),
        key=lambda one: (one.namespace, one.workload, one.name),
    )


def put_back(api: Api, found: Iterable[Holder], world: World) -> Iterator[Result]:
    """Give originals back wherever nothing runs of them."""
    for one in found:
        if one.change is None:
            continue
        outcomes = perform(api, one.change, world, dry_run=False, decide=back_to_originals)
        worst = next((each for each in outcomes if each.result != DONE), outcomes[0])
        yield Result(one.namespace, one.name, one.workload, worst.result, worst.message)


def evict(api: Api, found: Iterable[Holder], world: World, pace: Pace, say: Callable[[Result], None]) -> list[Result]:
    """Evict pods under their disruption budgets. Of a workload the next one goes when as many pods as before are Ready.

    `say` is told of each pod as it goes, from several threads.
    """
    results: list[Result] = []

    def roll(pods: Sequence[Holder]) -> None:
        for one in pods:
            result = _evicted(api, one, world, pace)
            results.append(result)
            say(result)
            if result.result not in (EVICTED, CHANGED):
                return

    with ThreadPoolExecutor(pace.parallel, thread_name_prefix="evict") as pool:
        list(pool.map(roll, by_workload(found).values()))
    return results


def _evicted(api: Api, one: Holder, world: World, pace: Pace) -> Result:
    def result(word: str, message: str = "") -> Result:
        return Result(one.namespace, one.name, one.workload, word, message)

    try:
        known = list(_pods(api, [one.namespace]))
        before, old = ready_pods(known, one.workload), frozenset(str(metadata(pod).get("uid")) for pod in known)
        refusal = _ask_to_go(api, one, pace)
        if refusal is not None:
            return result(CHANGED) if refusal in _GONE else result(REFUSED, "its disruption budget lets no pod go now")
        end = time.monotonic() + pace.patience
        while time.monotonic() < end:
            pods = list(_pods(api, [one.namespace]))
            if any(_needs_it_again(pod, one.workload, old, world) for pod in pods):
                return result(STILL, "new pods are still pointed to the proxy: set the ImageCache's mode to Off")
            there = any(metadata(pod).get("uid") == one.uid for pod in pods)
            if not there and ready_pods(pods, one.workload) >= before:
                return result(EVICTED)
            time.sleep(pace.pause)
    except KubernetesError as error:
        return result(FAILED, str(error))
    return result(SLOW, f"{one.workload} is not as ready as before after {pace.patience:.0f} s")


def _needs_it_again(pod: Object, workload: str, old: frozenset[str], world: World) -> bool:
    """Whether this is a pod of the workload that was made after the eviction and is pointed to the proxy again."""
    found = holder(pod, world)
    return found is not None and found.workload == workload and found.uid not in old and found.step == EVICT


def _ask_to_go(api: Api, one: Holder, pace: Pace) -> int | None:
    """Ask for the eviction until a budget allows it; None when it is done, else the API server's last status."""
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": one.name, "namespace": one.namespace},
        "deleteOptions": {"preconditions": {"uid": one.uid}},
    }
    end = time.monotonic() + pace.patience
    while True:
        try:
            api.create(f"{_PODS.path(one.name, one.namespace)}/eviction", body)
            return None
        except KubernetesError as error:
            if error.status in _GONE:
                return error.status
            if error.status != 429:
                raise
            if time.monotonic() >= end:
                return error.status
        time.sleep(pace.pause)


def _pods(api: Api, namespaces: Sequence[str]) -> Iterator[Object]:
    return pods_of(api, namespaces) if namespaces else api.items(_PODS.collection())
