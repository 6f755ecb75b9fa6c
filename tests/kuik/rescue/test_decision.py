"""Which waiting containers are rescued, which way, and that no other is ever touched."""

import copy
import json
from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hooks.containers import ORIGINALS
from hooks.policy import Policies
from kuik.rescue.decision import TO_ORIGINAL, TO_PROXY, Images, World, proxy_nodes, rescue
from registry.capability import capability
from registry.reference import Reference
from tests.kuik.rescue.world import KEY, NGINX, PROXIED, REASONS, after, bound_pods, cached, pod, world

FIELDS = {
    "containers": "containerStatuses",
    "initContainers": "initContainerStatuses",
    "ephemeralContainers": "ephemeralContainerStatuses",
}


def image(found: dict[str, Any], at: int = 0) -> str:
    return str(found["spec"]["containers"][at]["image"])


def rescued(found: dict[str, Any], around: World) -> dict[str, Any] | None:
    decided = rescue(found, around)
    return None if decided is None else after(decided)


@pytest.mark.parametrize("reason", REASONS)
def test_a_waiting_container_goes_to_the_proxy_with_its_original_noted(reason: str) -> None:
    decided = rescue(pod("nginx:1.27", "nginx:1.27", waits=(1,), reason=reason), world())
    assert decided is not None
    assert decided.direction == TO_PROXY
    changed = after(decided)
    assert [image(changed, at) for at in (0, 1)] == ["nginx:1.27", PROXIED]
    assert json.loads(changed["metadata"]["annotations"][ORIGINALS]) == {"c1": "nginx:1.27"}


def test_a_container_on_a_proxy_that_is_not_ready_gets_its_original_back() -> None:
    noted = {ORIGINALS: '{"c0":"nginx:1.27","c1":"nginx:1.27"}', "other": "stays"}
    decided = rescue(pod(PROXIED, PROXIED, annotations=noted), world(ready=False))
    assert decided is not None
    assert decided.direction == TO_ORIGINAL
    changed = after(decided)
    assert [image(changed, at) for at in (0, 1)] == ["nginx:1.27", PROXIED]
    assert changed["metadata"]["annotations"] == {ORIGINALS: '{"c1":"nginx:1.27"}', "other": "stays"}


def test_the_annotation_goes_with_the_last_original() -> None:
    changed = rescued(pod(PROXIED, annotations={ORIGINALS: '{"c0":"nginx:1.27"}'}), world(ready=False))
    assert changed is not None
    assert changed["metadata"]["annotations"] == {}


@pytest.mark.parametrize("noted", [None, "no JSON", '{"c0":"busybox:1"}', '{"c0":5}', f'{{"c0":"{PROXIED}"}}'])
def test_without_an_annotation_that_fits_the_name_itself_tells_the_original(noted: str | None) -> None:
    changed = rescued(pod(PROXIED, annotations={ORIGINALS: noted} if noted else {}), world(ready=False))
    assert changed is not None
    assert image(changed) == NGINX


def test_a_private_name_is_read_back_as_well() -> None:
    private = f"localhost:7439/private/{'a' * 32}/reg.example.com/team/app:1"
    changed = rescued(pod(private), world(ready=False))
    assert changed is not None
    assert image(changed) == "reg.example.com/team/app:1"


def test_a_private_image_needs_a_proof_for_a_secret_of_the_pod_and_a_key() -> None:
    name = "reg.example.com/team/app:1"
    around = world(cached(name, secret="pull"))
    found = pod(name)
    assert rescue(found, around) is None
    found["spec"]["imagePullSecrets"] = [{"name": "pull"}]
    changed = rescued(found, around)
    assert changed is not None
    opened = capability(KEY, Reference.parse(name))
    assert image(changed) == f"localhost:7439/private/{opened}/{name}"
    assert rescue(found, world(cached(name, secret="pull"), key=b"")) is None
    assert rescue(found, world(cached(name, secret="another"))) is None


@pytest.mark.parametrize(
    "around",
    [
        world(cached(NGINX, condition="False")),
        world(cached("docker.io/library/other:1")),
        world({**cached(NGINX), "metadata": {"name": "x", "deletionTimestamp": "2026-03-01T12:00:00Z"}}),
        world({"spec": {"image": NGINX}, "status": {"conditions": [{"type": "Cached", "status": "True"}]}}),
        world(namespace={"kuik.dev/cache": "false"}),
        world(namespace={"kuik.dev/mode": "Off"}),
        world(namespace={"kuik.dev/mode": "Audit"}),
        world(namespace={"kuik.dev/mode": "OptIn"}),
        world(namespace={"kuik.dev/mode": "On"}, mode="Off"),
        world(mode="Audit"),
        world(left_out=frozenset({"shop"})),
        world(policies=None),
        world(ready=False),
    ],
)
def test_nothing_goes_to_the_proxy_where_admission_would_not_send_it_or_it_is_not_cached(around: World) -> None:
    assert rescue(pod("nginx:1.27"), around) is None


def test_who_opts_in_is_helped_and_who_opted_out_still_gets_the_original_back() -> None:
    assert rescue(pod("nginx:1.27", labels={"kuik.dev/cache": "true"}), world(mode="OptIn"))
    out = {"kuik.dev/cache": "false"}
    assert rescue(pod("nginx:1.27", labels=out), world()) is None
    assert rescue(pod(PROXIED, labels=out), world(ready=False, mode="Off", policies=None))


def test_policies_decide() -> None:
    rules = [{"name": "no-nginx", "action": "Ignore", "match": {"images": ["docker.io/library/nginx:*"]}}]
    policy = {"metadata": {"name": "p", "namespace": "shop"}, "spec": {"rules": rules}}
    assert rescue(pod("nginx:1.27"), world(policies=Policies.read((), [policy]))) is None


@pytest.mark.parametrize(
    "meta",
    [{"annotations": {"kubernetes.io/config.mirror": "x"}}, {"deletionTimestamp": "2026-03-01T12:00:00Z"}],
)
def test_static_pods_and_those_that_go_are_left(meta: dict[str, Any]) -> None:
    assert rescue(pod("nginx:1.27", **meta), world()) is None
    assert rescue(pod(PROXIED, **meta), world(ready=False)) is None


def test_a_container_that_waits_for_an_image_volume_keeps_its_own_image() -> None:
    found = pod("nginx:1.27")
    found["spec"]["volumes"] = [{"name": "v", "image": {"reference": "data:1"}}]
    found["spec"]["containers"][0]["volumeMounts"] = [{"name": "v"}]
    found["status"]["containerStatuses"][0]["state"]["waiting"]["message"] = 'pulling "data:1" failed'
    assert rescue(found, world()) is None


@pytest.mark.parametrize("name", ["uid", "resourceVersion"])
def test_a_pod_that_changed_meanwhile_is_not_patched(name: str) -> None:
    decided = rescue(pod("nginx:1.27"), world())
    assert decided is not None
    another = pod("nginx:1.27")
    another["metadata"][name] = "another"
    with pytest.raises(jsonpatch.JsonPatchTestFailed):
        jsonpatch.apply_patch(another, decided.patch())


def test_only_proxies_that_are_ready_and_stay_count() -> None:
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    proxies: list[dict[str, Any]] = [
        {"metadata": {}, "spec": {"nodeName": "a"}, "status": ready},
        {"metadata": {"deletionTimestamp": "2026-03-01T12:00:00Z"}, "spec": {"nodeName": "b"}, "status": ready},
        {"metadata": {}, "spec": {"nodeName": "c"}, "status": {}},
        {"metadata": {}, "spec": {}, "status": ready},
    ]
    assert proxy_nodes(proxies) == {"a"}


def test_a_cached_image_with_a_name_that_is_none_is_no_error() -> None:
    assert Images.of([cached("Bad Name"), {}]).cached == frozenset()


EVERYTHING = (
    cached("docker.io/library/nginx:1.27"),
    cached("docker.io/library/nginx:latest"),
    cached("reg:5000/team/app:1", secret="x"),
    cached("ghcr.io/org/tool@sha256:" + "1" * 64),
)


@given(bound_pods(), st.booleans(), st.sampled_from(["On", "OptIn", "Off"]))
def test_nothing_but_containers_that_wait_is_ever_touched(found: dict[str, Any], ready: bool, mode: str) -> None:
    before = copy.deepcopy(found)
    changed = rescued(found, world(*EVERYTHING, ready=ready, mode=mode))
    assert found == before
    if changed is None:
        return
    for field, where in FIELDS.items():
        states = {one["name"]: one["state"] for one in found["status"][where]}
        for old, new in zip(found["spec"].get(field, ()), changed["spec"].get(field, ()), strict=True):
            waits = states[old["name"]].get("waiting", {}).get("reason") in REASONS
            assert {**new, "image": old["image"]} == old
            if not waits or field == "ephemeralContainers":
                assert new == old
    assert {**changed, "metadata": 0, "spec": 0} == {**found, "metadata": 0, "spec": 0}


@given(bound_pods(), st.booleans())
def test_while_the_world_stays_a_second_run_changes_nothing(found: dict[str, Any], ready: bool) -> None:
    around = world(*EVERYTHING, ready=ready)
    changed = rescued(found, around)
    if changed is not None:
        assert rescue(changed, around) is None


@given(bound_pods())
def test_there_and_back_gives_the_images_and_the_annotation_of_before(found: dict[str, Any]) -> None:
    found["metadata"].get("annotations", {}).pop(ORIGINALS, None)
    there = rescue(found, world(*EVERYTHING))
    if there is None:
        return
    back = rescued(after(there), world(ready=False))
    assert back is not None
    touched = {change.container for change in there.changes}
    for field in ("containers", "initContainers"):
        for old, new in zip(found["spec"].get(field, ()), back["spec"].get(field, ()), strict=True):
            assert old["name"] not in touched or new["image"] == old["image"]
    assert ORIGINALS not in back["metadata"]["annotations"]


def test_a_pod_that_pulls_ahead_of_need_is_left_to_its_own_stage() -> None:
    names = {"app.kubernetes.io/name": "kube-image-keeper", "app.kubernetes.io/component": "prefetch"}
    assert rescue(pod("nginx:1.27"), world()) is not None
    assert rescue(pod("nginx:1.27", labels=names), world()) is None
