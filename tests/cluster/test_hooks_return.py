"""Hooks that were away: the real Metacontroller asks for every namespace at once when they are back."""

import json
import time
from collections.abc import Iterator

import pytest
import yaml

from tests.cluster.rig import metacontroller
from tests.cluster.rig.workloads import namespace, pod
from tests.rig.components import ROOT
from tests.rig.processes import wait_until
from tests.scenarios.real import Real

SPACE = "awaited"
PARENT = ("inventory", SPACE)
ENOUGH = 19
"""Failed syncs after which Metacontroller would wait for its longest: 1,000 seconds."""

QUIET = 20.0  # seconds: longer than what the pauses before amount to


@pytest.fixture
def usual(real: Real) -> Iterator[Real]:
    """The controllers with their own resync, and a namespace with one pod, which has its inventory."""
    real.begin()
    real.plane.kubectl("apply", "-f", "-", stdin=metacontroller.controllers(real.url, 600))
    real.plane.kubectl("apply", "-f", "-", stdin=json.dumps(namespace(SPACE)))
    account = f"api/v1/namespaces/{SPACE}/serviceaccounts/default"
    wait_until(lambda: real.plane.api.raw("GET", account)[0] == 200, "the account is there", 30)
    real.plane.kubectl("create", "-f", "-", stdin=json.dumps(pod(SPACE, "one", "app:1")))
    wait_until(lambda: images(real) == ["docker.io/library/app:1"], "the inventory tells of it", 60)
    yield real
    real.plane.kubectl("delete", "deployment", "kuik-hooks", "-n", "kuik-system", "--ignore-not-found")
    real.plane.kubectl("delete", "namespace", SPACE, "--wait=false")
    real.call(real.url)


def images(real: Real) -> list[str]:
    found = (one for one in real.plane_has("ImageInventory") if one["metadata"]["name"] == SPACE)
    return [str(image["image"]) for one in found for image in one["spec"]["images"]]


class Quiet:
    """Whether the namespace has not been asked about for a while."""

    def __init__(self, real: Real) -> None:
        self._calls, self._seen, self._since = real.hooks.calls, 0, 0.0

    def __call__(self) -> bool:
        if self._calls[PARENT] != self._seen:
            self._seen, self._since = self._calls[PARENT], time.monotonic()
        return time.monotonic() - self._since > QUIET


@pytest.mark.timeout(400)
def test_a_namespace_is_asked_about_once_the_hooks_are_available_again(usual: Real) -> None:
    plane, calls = usual.plane, usual.hooks.calls
    documents = yaml.safe_load_all((ROOT / "metacontroller" / "hooks.yaml").read_text())
    deployment = next(one for one in documents if one["kind"] == "Deployment")
    deployment["spec"]["replicas"] = 0  # what its pods would be is told below
    plane.kubectl("create", "-f", "-", stdin=json.dumps(deployment))
    with usual.hooks.failing(lambda _body, _ask: (503, b"away")):
        for number in range(ENOUGH):
            before = calls[PARENT]
            plane.kubectl("annotate", "pod", "-n", SPACE, "one", f"changes={number}", "--overwrite")
            wait_until(lambda before=before: calls[PARENT] > before, "it is asked about, in vain", 60)  # type: ignore[misc]
        before = calls[PARENT]
        plane.kubectl("create", "-f", "-", stdin=json.dumps(pod(SPACE, "two", "app:2")))
        wait_until(lambda: calls[PARENT] > before, "it is asked about, in vain", 60)
        assert images(usual) == ["docker.io/library/app:1"]
        # A pause that was begun before still ends, in vain; the next is the longest.
        wait_until(Quiet(usual), "it is left alone", 150)
    status = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), 1)
    plane.api.patch(deployment, {"status": status}, "status")
    wait_until(lambda: len(images(usual)) == 2, "the inventory tells of both", 60)
