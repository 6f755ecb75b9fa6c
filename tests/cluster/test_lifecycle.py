"""The hooks as a process of their own with their account's rights, called by the real Metacontroller, and killed."""

import base64
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hooks.own_secrets import CERTIFICATE, OwnSecrets
from kube.client import Api
from tests.cluster.rig.workloads import deployment, image_cache, namespace
from tests.cluster.test_rights import account
from tests.rig.components import Component, hooks
from tests.rig.processes import wait_until
from tests.scenarios.cluster import COPIED, JOBS
from tests.scenarios.real import Real
from tests.scenarios.test_cache import proxies
from tests.scenarios.test_images import HUB

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def scene(real: Real) -> Iterator[Real]:
    real.begin()
    yield real
    real.clear()


@contextmanager
def process(scene: Real, folder: Path) -> Iterator[Component]:
    """The hooks as their Deployment runs them."""
    environment = {"KUIK_KUBECONFIG": str(account(scene.plane, "kuik-hooks"))}
    running = hooks(folder, environment).start()
    try:
        with scene.calling(running.url):
            yield running
    finally:
        running.stop()


def until(holds: Callable[[], Any], what: str, asked: Component) -> None:
    try:
        wait_until(lambda: bool(holds()), what, 60)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{asked.log.read_text(errors='replace')[-2000:]}") from None


def test_the_life_of_an_image_with_the_hooks_own_rights(scene: Real, tmp_path: Path) -> None:
    """Nothing of what the edge finds out is a double here: certificate, proxies, and the last look at the pods."""
    image, kept = f"{HUB}/lived:1", f"{HUB}/kept:1"
    api = Api.from_kubeconfig(str(scene.plane.kubeconfig()))
    OwnSecrets(api, JOBS).certificate([f"kuik-admission.{JOBS}.svc"])
    with process(scene, tmp_path) as running:
        scene.apply(image_cache(), namespace("shop"), deployment("shop", "web", image), deployment("shop", "app", kept))
        proxies(scene, 3, 3)
        for one in (image, kept):
            until(partial(scene.jobs, one), f"{one} is copied", running)
            scene.finish(one, COPIED)
        until(lambda: [scene.phase(one) for one in (image, kept)] == ["Cached"] * 2, "both are cached", running)
        until(lambda: scene.every("MutatingWebhookConfiguration"), "the webhook is there", running)
        (found,) = scene.every("MutatingWebhookConfiguration")
        secret = api.get(f"api/v1/namespaces/{JOBS}/secrets/{CERTIFICATE}")
        trusted = {one["clientConfig"]["caBundle"] for one in found["webhooks"]}
        assert [base64.b64decode(one) for one in trusted] == [base64.b64decode(secret["data"]["ca.crt"])]
        scene.delete("Deployment", "web", "shop")
        until(lambda: "unusedSince" in scene.spec(image), "it is unused", running)
        scene.apply(image_cache("1s"))
        until(lambda: scene.image(image) is None, "it expires", running)
        assert scene.phase(kept) == "Cached"
    scene.plane.kubectl("delete", "secret", "-n", JOBS, CERTIFICATE)


def test_hooks_killed_in_the_middle_delete_nothing(scene: Real, tmp_path: Path) -> None:
    """They are stopped until requests hang, then killed, again and again, while workloads come and go."""
    images = [f"{HUB}/steady{number}:1" for number in range(8)]
    with process(scene, tmp_path) as running:
        scene.apply(image_cache(), namespace("shop"))
        scene.apply(*(deployment("shop", f"steady{number}", image) for number, image in enumerate(images)))
        until(lambda: all(scene.jobs(image) for image in images), "all are copied", running)
        before = identities(scene)
        scene.delete("Deployment", "steady0", "shop")
        for turn in range(4):
            assert running.process
            os.killpg(running.process.pid, signal.SIGSTOP)
            scene.apply(deployment("shop", f"more{turn}", f"{HUB}/more{turn}:1"))
            time.sleep(1.5)  # every parent is due once a second: by now they wait for answers
            running.kill()
            time.sleep(1.0)
            assert before.items() <= identities(scene).items()
            running.start()
            time.sleep(0.2 * turn)
        until(lambda: all(scene.jobs(f"{HUB}/more{turn}:1") for turn in range(4)), "the new ones are copied", running)
        until(lambda: "unusedSince" in scene.spec(images[0]), "the one that nobody uses is known", running)
        assert before.items() <= identities(scene).items()
        assert len(scene.every("Job")) == len(images) + 4, "nothing is copied twice"


def identities(scene: Real) -> dict[str, str]:
    """What must stay: CachedImages, Jobs and inventories, each the same object as before."""
    kinds = ("CachedImage", "Job", "ImageInventory")
    return {f"{kind}/{one['metadata']['name']}": one["metadata"]["uid"] for kind in kinds for one in scene.every(kind)}


def test_a_policy_that_is_refused_changes_nothing(scene: Real) -> None:
    scene.apply(image_cache(), namespace("shop"), deployment("shop", "web", f"{HUB}/web:1"))
    scene.settle()
    before = scene.dump()
    rule = {"name": "x", "match": {"images": ["*"]}, "action": "Burn"}
    policy = {"apiVersion": "kuik.dev/v1alpha1", "kind": "ClusterCachePolicy", "metadata": {"name": "bad"}}
    done = scene.plane.try_kubectl("apply", "-f", "-", stdin=json.dumps({**policy, "spec": {"rules": [rule]}}))
    assert done.returncode != 0
    assert "spec.rules[0].action" in done.stderr
    scene.settle()
    assert scene.dump() == before
