"""What is read of a pod that pulls images, and what is remembered of its node."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hooks.last_look import all_in_use
from hooks.prefetch_look import Before, Outcome, look, names
from hooks.prefetch_memory import Memory
from hooks.prefetch_pod import Progress, progress_of
from hooks.prefetch_rules import prefetches
from hooks.workloads import secrets_of
from kube.types import Object

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
OLD, NEW = "containerd://old", "containerd://new"
IMAGE = "docker.io/library/two:1"


def a_pod(
    state: Object, *, created: str = "", image_id: str = "", restarts: int = 0, image: str = "?", **status: Any
) -> Object:
    """A pod with this state of its container, of which the last run made the container `created`."""
    last = {"terminated": {"containerID": created, "reason": "StartError"}} if created else {}
    found = {"name": "image", "state": state, "lastState": last, "containerID": created, "imageID": image_id}
    found["image"] = image
    said = {"phase": "Pending", "containerStatuses": [{**found, "restartCount": restarts}], **status}
    spec = {"containers": [{"name": "sidecar", "image": "x"}, {"name": "image", "image": IMAGE}]}
    return {"metadata": {"name": "p", "generation": 2}, "spec": spec, "status": said}


def waits(reason: str, message: str = "") -> Object:
    return {"waiting": {"reason": reason, "message": message}}


FIRST = Before()
SECOND = Before.of(a_pod(waits("RunContainerError"), created=OLD, image_id="one@sha256:1"))
AFTER_FAILURE = Before.of(a_pod(waits("ErrImagePull", "one")))


@pytest.mark.parametrize(
    ("why", "pod", "before", "outcome"),
    [
        ("the pull is under way", a_pod(waits("ContainerCreating")), FIRST, Outcome.PENDING),
        ("no status yet", {"metadata": {}, "spec": {}, "status": {}}, FIRST, Outcome.PENDING),
        ("it did not start", a_pod(waits("RunContainerError"), created=OLD), FIRST, Outcome.PULLED),
        ("it would run as root", a_pod(waits("CreateContainerConfigError")), FIRST, Outcome.PULLED),
        ("CRI-O made none", a_pod(waits("CreateContainerError")), FIRST, Outcome.PULLED),
        ("it runs", a_pod({"running": {}}, created=OLD), FIRST, Outcome.PULLED),
        ("no pull", a_pod(waits("ErrImagePull", "denied")), FIRST, Outcome.FAILED),
        ("no name", a_pod(waits("InvalidImageName")), FIRST, Outcome.FAILED),
        ("evicted", a_pod({}, phase="Failed", reason="Evicted"), FIRST, Outcome.ENDED),
        (
            "the same, later",
            a_pod(waits("CrashLoopBackOff"), created=OLD, image_id="one@sha256:1"),
            SECOND,
            Outcome.PENDING,
        ),
        (
            "one more of the image before",
            a_pod(waits("RunContainerError"), created=NEW, image_id="one@sha256:1", restarts=1),
            SECOND,
            Outcome.PENDING,
        ),
        (
            "one more of the image before, whose digest has this name too",
            a_pod(waits("RunContainerError"), created=NEW, image_id="two@sha256:1", restarts=1, image=IMAGE),
            SECOND,
            Outcome.PENDING,
        ),
        (
            "another image",
            a_pod(waits("RunContainerError"), created=NEW, image_id="two@sha256:2", restarts=1),
            SECOND,
            Outcome.PULLED,
        ),
        (
            "the same digest, twice",
            a_pod(waits("RunContainerError"), created=NEW, image_id="one@sha256:1", restarts=2),
            SECOND,
            Outcome.PULLED,
        ),
        (
            "of an older spec",
            a_pod(waits("RunContainerError"), created=NEW, image_id="two@sha256:2", observedGeneration=1),
            SECOND,
            Outcome.PENDING,
        ),
        (
            "of this spec",
            a_pod(waits("RunContainerError"), created=NEW, image_id="two@sha256:2", observedGeneration=2),
            SECOND,
            Outcome.PULLED,
        ),
        ("of the one before", a_pod(waits("ErrImagePull", 'pull "docker.io/library/one:1"')), SECOND, Outcome.PENDING),
        ("of this one", a_pod(waits("ImagePullBackOff", f'Back-off pulling "{IMAGE}"')), SECOND, Outcome.FAILED),
        ("still of the failure before", a_pod(waits("ErrImagePull", "one")), AFTER_FAILURE, Outcome.PENDING),
        (
            "after a failure",
            a_pod(waits("RunContainerError"), created=NEW, image_id="two@sha256:2"),
            AFTER_FAILURE,
            Outcome.PULLED,
        ),
        (
            "created, then not",
            a_pod(waits("CreateContainerConfigError"), created=OLD, image_id="one@sha256:1"),
            SECOND,
            Outcome.PULLED,
        ),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_what_kubelet_says_of_the_image(why: str, pod: Object, before: Before, outcome: Outcome) -> None:
    assert look(pod, before).outcome is outcome, why
    assert Before.read(before.written()) == before


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (f'Back-off pulling image "{IMAGE}"', True),
        (f"{IMAGE}: not found", True),
        (f"failed to pull {IMAGE}.", True),
        (f'"{IMAGE}.5"', False),
        (f'"{IMAGE}-alpine"', False),
        (f'"{IMAGE}@sha256:1"', False),
        (f'"mirror/{IMAGE}"', False),
        ("", False),
    ],
)
def test_a_message_names_an_image_or_one_that_looks_like_it(message: str, said: bool) -> None:
    assert names(message, IMAGE) is said


def test_progress_survives_in_the_annotation() -> None:
    progress = Progress("w", NOW, NOW, 3, 1, True, {0: "denied", 2: "gone"}, SECOND)
    assert progress.pulled == 1
    assert progress_of({"metadata": {"annotations": {"kuik.dev/prefetch": progress.written()}}}) == progress


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"began": "x"}', "[" * 100_000])
def test_progress_that_nobody_can_read_is_none(text: str) -> None:
    assert progress_of({"metadata": {"annotations": {"kuik.dev/prefetch": text}}}) is None


def test_a_thousand_nodes_are_a_short_memory_and_one_that_went_is_forgotten() -> None:
    memory = Memory()
    for at in range(1000):
        memory.finished(f"node-{at:04}", "w", NOW, NOW + timedelta(seconds=at))
    parent = {"status": memory.written()}
    assert len(parent["status"]["done"]) <= 3
    again = Memory.read(parent, [f"node-{at:04}" for at in range(1, 1000)])
    assert set(again.done) == {name for name in memory.done if name != "node-0000"}


def test_a_node_that_fails_is_tried_again_after_a_growing_while() -> None:
    memory, waited = Memory(), []
    for _ in range(9):
        memory.failed("a", "w", NOW, 0, "denied")
        waited.append((memory.retries["a"].due - NOW).total_seconds())
    assert waited == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]
    memory.failed("a", "another", NOW, 0, "denied")
    assert memory.retries["a"].attempts == 1


def test_the_last_look_sees_what_a_namespaces_rule_pulls() -> None:
    spec = {"images": ["one"], "prefetch": [{"name": "x", "images": ["two:2"]}]}
    policy = {"kind": "CachePolicy", "metadata": {"name": "p", "namespace": "shop"}, "spec": spec}
    found = all_in_use(lambda kind: [policy] if kind == "CachePolicy" else [], "localhost:7439")
    assert found == {"docker.io/library/one:latest", "docker.io/library/two:2"}


def test_a_very_long_policy_name_makes_a_name_that_an_api_server_takes() -> None:
    entry = {"name": "rule", "images": ["one"]}
    policies = [{"metadata": {"name": f"{'p' * 250}{at}"}, "spec": {"prefetch": [entry]}} for at in range(2)]
    made = [one["metadata"]["name"] for one in prefetches("kuik-system", "kuik-system", policies, [], [])]
    assert len(set(made)) == 2
    assert all(len(name) <= 253 for name in made)


def test_every_secret_of_a_namespaces_accounts_may_open_what_it_lists() -> None:
    accounts = [{"imagePullSecrets": [{"name": name}]} for name in ("b", "a", "b")]
    assert secrets_of(accounts) == ("a", "b")
