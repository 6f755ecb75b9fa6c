"""How each kind of pod stops needing the node proxy."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings

from hooks.containers import ORIGINALS
from kuik.rescue.decision import TO_ORIGINAL, World
from kuik.revert.decision import ALONE, ENDS, EVICT, PUT_BACK, WRITTEN, Holder, by_workload, holder, ready_pods
from tests.kuik.rescue.world import NGINX, PROXIED, after, bound_pods, pod

READY = [{"type": "Ready", "status": "True"}]
WORLD = World()


def owned(kind: str, name: str = "web-5d4", **labels: str) -> dict[str, Any]:
    """Metadata of a rewritten pod with this controller."""
    owner = {"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": "o", "controller": True}
    return {"ownerReferences": [owner], "labels": labels, "annotations": {ORIGINALS: '{"c0": "nginx:1.27"}'}}


def found(one: dict[str, Any]) -> Holder:
    result = holder(one, WORLD)
    assert result is not None
    return result


def test_what_waits_for_its_image_gets_the_original_as_it_was_written() -> None:
    one = found(pod(PROXIED, **owned("ReplicaSet")))
    assert one.step == PUT_BACK
    assert one.change is not None
    assert after(one.change)["spec"]["containers"][0]["image"] == "nginx:1.27"


def test_what_has_no_node_yet_gets_it_too() -> None:
    new = pod(PROXIED, waits=(), **owned("ReplicaSet"))
    del new["spec"]["nodeName"], new["status"]
    assert found(new).step == PUT_BACK


@pytest.mark.parametrize(
    ("kind", "step"),
    [("ReplicaSet", EVICT), ("StatefulSet", EVICT), ("DaemonSet", EVICT), ("Cluster", EVICT), ("Job", ENDS)],
)
def test_what_runs_is_left_to_its_controller(kind: str, step: str) -> None:
    one = found(pod(PROXIED, waits=(), **owned(kind)))
    assert (one.step, one.change) == (step, None)


def test_a_pod_that_nobody_would_make_again_is_left_alone() -> None:
    meta = owned("ReplicaSet")
    del meta["ownerReferences"]
    assert found(pod(PROXIED, waits=(), **meta)).step == ALONE


def test_a_name_written_by_hand_is_told_apart() -> None:
    meta = owned("ReplicaSet")
    del meta["annotations"]
    assert found(pod(PROXIED, waits=(), **meta)).step == WRITTEN


def test_of_a_pod_that_runs_in_part_only_what_waits_is_put_back() -> None:
    one = found(pod(PROXIED, PROXIED, waits=(1,), **owned("ReplicaSet")))
    assert one.step == EVICT
    assert one.change is not None
    assert [change.container for change in one.change.changes] == ["c1"]


@pytest.mark.parametrize("gone", ["other image", "ended", "on its way out"])
def test_what_needs_no_proxy_is_not_told(gone: str) -> None:
    one = pod(NGINX if gone == "other image" else PROXIED, waits=(), **owned("ReplicaSet"))
    if gone == "ended":
        one["status"]["phase"] = "Succeeded"
    if gone == "on its way out":
        one["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert holder(one, WORLD) is None


def test_an_ephemeral_container_needs_nothing() -> None:
    one = pod(NGINX, waits=(), **owned("ReplicaSet"))
    one["spec"]["ephemeralContainers"] = [{"name": "debug", "image": PROXIED}]
    assert holder(one, WORLD) is None


def test_pods_that_are_not_ready_go_first() -> None:
    ready, not_ready = (pod(PROXIED, waits=(), **owned("StatefulSet", "db"), name=name) for name in ("a", "b"))
    ready["status"]["conditions"] = READY
    rolled = by_workload(found(one) for one in (ready, not_ready))
    assert [one.name for one in rolled["shop", "StatefulSet/db"]] == ["b", "a"]


def test_ready_pods_are_counted_by_workload() -> None:
    ours, gone = (pod(PROXIED, waits=(), **owned("StatefulSet", "db")) for _ in range(2))
    others = pod(PROXIED, waits=(), **owned("StatefulSet", "other"))
    gone["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    for one in (ours, gone, others):
        one["status"]["conditions"] = READY
    assert ready_pods([ours, gone, others], "StatefulSet/db") == 1


@given(bound_pods())
@settings(max_examples=60)
def test_nothing_that_runs_is_ever_changed(one: dict[str, Any]) -> None:
    before = copy.deepcopy(one)
    result = holder(one, WORLD)
    assert one == before
    if result is None or result.change is None:
        return
    assert result.change.direction == TO_ORIGINAL
    statuses = [*one["status"].get("containerStatuses", []), *one["status"].get("initContainerStatuses", [])]
    waiting = {str(entry["name"]) for entry in statuses if "waiting" in entry["state"]}
    assert {change.container for change in result.change.changes} <= waiting
