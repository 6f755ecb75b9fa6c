"""The breaker: it opens at once, and closes when the proxies were fit for a while."""

from typing import Any

import pytest

from hooks.fitness import FIT_FOR, KEPT, UNKNOWN_AFTER, Fitness, lost_nodes, reach, unfit


def proxies(ready: Any, desired: Any = 10) -> list[dict[str, Any]]:
    return [{"status": {"desiredNumberScheduled": desired, "numberReady": ready}}]


@pytest.mark.parametrize(
    ("seen", "fit"),
    [
        ([], False),
        (proxies(0, 0), False),
        (proxies(10), True),
        (proxies(9), True),
        (proxies(8), False),
        (proxies(1, 1), True),
        (proxies(0, 1), False),
        ([{}], False),
        (proxies("10"), False),
        (proxies(10) + proxies(0, 1), True),
        (proxies(10) + proxies(0, 5), False),
    ],
)
def test_one_in_ten_may_be_missing(seen: list[dict[str, Any]], fit: bool) -> None:
    assert (unfit(seen) is None) is fit


def test_the_first_look_is_believed() -> None:
    assert Fitness().after(proxies(10), 0, 100.0).why is None
    assert Fitness().after(proxies(5), 0, 100.0).why is not None
    assert Fitness().after(None, 0, 100.0).why is not None


def test_it_opens_at_once_and_closes_after_a_while() -> None:
    state = Fitness().after(proxies(10), 0, 0.0).after(proxies(5), 0, 1.0)
    assert state.why is not None
    state = state.after(proxies(10), 0, 2.0)
    assert state.why is not None
    interrupted = state.after(proxies(5), 0, 5.0).after(proxies(10), 0, 6.0)
    assert interrupted.after(proxies(10), 0, 2.0 + FIT_FOR).why is not None
    assert state.after(proxies(10), 0, 2.0 + FIT_FOR).why is None


def test_what_is_not_known_keeps_the_last_answer_for_a_while() -> None:
    fit = Fitness().after(proxies(10), 0, 0.0)
    assert fit.after(proxies(10), UNKNOWN_AFTER + 1, 61.0).why is None
    assert fit.after(proxies(0), UNKNOWN_AFTER + 1, 61.0).why is None, "what is that old is no news"
    lost = fit.after(proxies(10), UNKNOWN_AFTER + KEPT + 1, 181.0)
    assert lost.why is not None
    assert lost.after(proxies(10), 0, 182.0).why is not None, "it has to prove itself again"
    assert lost.after(proxies(10), 0, 182.0).after(proxies(10), 0, 182.0 + FIT_FOR).why is None
    bad = Fitness().after(proxies(0), 0, 0.0).after(proxies(10), UNKNOWN_AFTER + 1, 61.0)
    assert bad.why is not None


@pytest.mark.parametrize(
    ("seen", "lost", "fit"),
    [
        (proxies(8), 2, True),
        (proxies(8), 1, False),
        (proxies(5), 5, True),
        (proxies(4), 5, False),
        (proxies(0), 10, False),
        (proxies(0, 1), 5, False),
    ],
)
def test_a_proxy_on_a_lost_node_is_not_missed(seen: list[dict[str, Any]], lost: int, fit: bool) -> None:
    assert (unfit(seen, lost) is None) is fit
    assert (Fitness().after(seen, 0, 0.0, lost).why is None) is fit


def pod(node: str = "n1", *, ready: bool = False, containers: bool = True, **fields: Any) -> dict[str, Any]:
    """A proxy's pod that kubelet has started, with its own word on the containers, and the last word on the pod."""
    said = {"Ready": ready, "ContainersReady": containers, "PodScheduled": True}
    conditions = [{"type": name, "status": str(value)} for name, value in said.items()]
    started = {"startTime": "2026-01-01T00:00:00Z", "containerStatuses": [{"name": "proxy", "ready": containers}]}
    return {
        "metadata": {"name": "p"},
        "spec": {"nodeName": node, **fields},
        "status": {**started, "conditions": conditions},
    }


MADE = {"metadata": {"name": "new"}, "spec": {"nodeName": "n1"}, "status": {"phase": "Pending"}}


@pytest.mark.parametrize(
    ("pods", "lost"),
    [
        ([], 0),
        ([pod(ready=True)], 0),
        ([pod(ready=False, containers=False)], 0),
        ([pod(ready=False, containers=True)], 1),
        ([pod(ready=False, containers=True, readinessGates=[{"conditionType": "x"}])], 0),
        ([MADE], 1),
        ([{"metadata": {"name": "unscheduled"}, "spec": {}, "status": {}}], 0),
        ([pod("n1"), pod("n2"), pod("n3", ready=True)], 2),
        ([pod("n1"), MADE], 1),
        ([pod("n1", ready=True), MADE], 0),
        ([{"metadata": {}, "spec": "x", "status": {"conditions": 5}}], 0),
    ],
    ids=["none", "ready", "not ready", "lost", "gated", "made since", "unscheduled", "three", "both", "another", "odd"],
)
def test_a_lost_node_is_told_from_a_proxy_that_is_not_ready(pods: list[Any], lost: int) -> None:
    assert lost_nodes(reach(one) for one in pods) == lost
