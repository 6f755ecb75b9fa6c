"""Pods that wait for an image in vain: from when on, under which name, and what makes no difference."""

import json
from datetime import timedelta
from typing import Any

import pytest

from hooks.facts import Context
from hooks.messages import answer
from hooks.stages import STAGES
from kube.schema import validate
from kube.types import format_time
from tests.hooks import golden
from tests.hooks.world import NOW, namespace

PROXIED = "localhost:7439/docker.io/library/nginx:1"
STAGE = STAGES["inventory"]


def pod(seconds: float, reason: str = "ErrImagePull", image: str = "nginx:1", **spec: Any) -> dict[str, Any]:
    container = {"name": "c", "image": image}
    state = {"waiting": {"reason": reason, "message": "no"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "shop"},
        "spec": {"containers": [container], **spec},
        "status": {
            "phase": "Pending",
            "startTime": format_time(NOW - timedelta(seconds=seconds)),
            "containerStatuses": [{"name": "c", "state": state}],
        },
    }


def told(*pods: dict[str, Any]) -> tuple[dict[str, list[str]], float]:
    """What each image's entry says of waiting, and after how many seconds to ask again."""
    found = answer(STAGE, golden.request(STAGE, namespace("shop"), [], list(pods)), Context(NOW))
    (inventory,) = found["attachments"]
    assert validate(inventory) == ()
    entries = {entry["image"]: entry.get("waiting", []) for entry in inventory["spec"]["images"]}
    return entries, found["resyncAfterSeconds"]


NGINX = "docker.io/library/nginx:1"


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff", "RegistryUnavailable"])
def test_half_a_minute_after_it_was_scheduled(reason: str) -> None:
    assert told(pod(29, reason)) == ({NGINX: []}, 1)
    assert told(pod(10, reason)) == ({NGINX: []}, 20)
    assert told(pod(30, reason)) == ({NGINX: ["Direct"]}, 0)
    assert told(pod(9999, reason, PROXIED)) == ({NGINX: ["Proxied"]}, 0)


@pytest.mark.parametrize("reason", ["ContainerCreating", "CrashLoopBackOff", "ErrImageNeverPull", None, []])
def test_other_reasons_to_wait_are_none(reason: Any) -> None:
    assert told(pod(60, reason)) == ({NGINX: []}, 0)


def test_who_is_deleted_or_was_never_scheduled_waits_for_nothing() -> None:
    going = pod(60)
    going["metadata"]["deletionTimestamp"] = format_time(NOW)
    homeless = pod(60)
    del homeless["status"]["startTime"]
    assert told(going) == told(homeless) == ({NGINX: []}, 0)
    since = {"type": "PodScheduled", "status": "True", "lastTransitionTime": format_time(NOW - timedelta(minutes=1))}
    homeless["status"]["conditions"] = [since]
    assert told(homeless)[0] == {NGINX: ["Direct"]}


@pytest.mark.parametrize("kind", ["init", "ephemeral"])
def test_every_kind_of_container(kind: str) -> None:
    one = pod(60)
    one["spec"][f"{kind}Containers"] = one["spec"].pop("containers")
    one["status"][f"{kind}ContainerStatuses"] = one["status"].pop("containerStatuses")
    assert told(one)[0] == {NGINX: ["Direct"]}


def test_an_image_volume_that_the_message_names() -> None:
    volume = {"name": "data", "image": {"reference": "reg.io/data:1", "pullPolicy": "IfNotPresent"}}
    one = pod(60, volumes=[volume])
    one["spec"]["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/d"}]
    assert told(one)[0] == {NGINX: ["Direct"], "reg.io/data:1": []}
    one["status"]["containerStatuses"][0]["state"]["waiting"]["message"] = 'Back-off pulling image "reg.io/data:1": no'
    assert told(one)[0] == {NGINX: [], "reg.io/data:1": ["Direct"]}


def test_both_names_and_flips_give_the_same_bytes() -> None:
    other = pod(60, image=PROXIED)
    other["metadata"]["name"] = "q"
    one, flipped = told(pod(60), other), told(pod(61, "ImagePullBackOff"), other)
    assert json.dumps(one) == json.dumps(flipped)
    assert one[0] == {NGINX: ["Direct", "Proxied"]}


def test_a_time_in_the_future_is_looked_at_again_soon() -> None:
    assert told(pod(-3600)) == ({NGINX: []}, 30)


def ago(seconds: float) -> str:
    return format_time(NOW - timedelta(seconds=seconds))


def test_a_container_that_ran_waits_since_it_ended() -> None:
    one = pod(9999)
    one["status"]["containerStatuses"][0]["lastState"] = {"terminated": {"exitCode": 1, "finishedAt": ago(12)}}
    assert told(one) == ({NGINX: []}, 18)
    one["status"]["containerStatuses"][0]["lastState"] = {"terminated": {"exitCode": 1, "finishedAt": ago(30)}}
    assert told(one) == ({NGINX: ["Direct"]}, 0)


@pytest.mark.parametrize(("kind", "status"), [("Initialized", "True"), ("ContainersReady", "False")])
def test_no_container_waits_before_init_containers_are_done_or_while_all_are_ready(kind: str, status: str) -> None:
    one = pod(9999)
    one["status"]["conditions"] = [{"type": kind, "status": status, "lastTransitionTime": ago(10)}]
    assert told(one) == ({NGINX: []}, 20)
    one["status"]["conditions"][0]["status"] = "Unknown"
    assert told(one) == ({NGINX: ["Direct"]}, 0)


@pytest.mark.parametrize("kind", ["init", "ephemeral"])
def test_the_pods_conditions_say_nothing_of_other_containers(kind: str) -> None:
    one = pod(60)
    one["status"]["conditions"] = [{"type": "ContainersReady", "status": "False", "lastTransitionTime": ago(5)}]
    one["spec"][f"{kind}Containers"] = one["spec"].pop("containers")
    one["status"][f"{kind}ContainerStatuses"] = one["status"].pop("containerStatuses")
    assert told(one)[0] == {NGINX: ["Direct"]}


def test_the_first_of_a_pods_containers_that_waits_for_an_image_counts() -> None:
    one = pod(60)
    one["spec"]["containers"].append({"name": "d", "image": "nginx:1"})
    ended = {"terminated": {"exitCode": 1, "finishedAt": ago(5)}}
    state = one["status"]["containerStatuses"][0]["state"]
    one["status"]["containerStatuses"].append({"name": "d", "state": state, "lastState": ended})
    assert told(one) == ({NGINX: ["Direct"]}, 0)
