"""Events on a real API server, written by the hooks' process with the rights of its service account."""

import json
import logging
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kube.client import Api
from kube.events import NORMAL, Involved, Recorder, Said
from tests.cluster.rig.control_plane import ControlPlane
from tests.cluster.rig.workloads import deployment, namespace
from tests.cluster.test_rights import account
from tests.hooks import golden
from tests.hooks.copying import STAGE, Image
from tests.rig import components
from tests.rig.components import Component
from tests.rig.processes import wait_until

TEAM = "team-events"
NAME = "told-app"
USERS = [f"{TEAM}/Deployment/web", f"{TEAM}/StatefulSet/gone", "nowhere/Deployment/x"]


@pytest.fixture
def hooks(installed: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Component]:
    monkeypatch.setenv("KUIK_KUBECONFIG", str(account(installed, "kuik-hooks")))
    running = components.hooks(tmp_path).start()
    yield running
    running.stop()


@pytest.fixture
def image(installed: ControlPlane) -> Iterator[Image]:
    """A CachedImage that the API server keeps, its Jobs a double."""
    installed.kubectl("apply", "-f", "-", stdin=json.dumps(namespace(TEAM)))
    installed.kubectl("apply", "-f", "-", stdin=json.dumps(deployment(TEAM, "web", "reg.example.com/app:1")))
    told = Image(usedBy=USERS)
    told.parent["metadata"] = {"name": NAME}
    told.parent["spec"]["suspend"] = False
    told.parent = json.loads(installed.kubectl("create", "-f", "-", "-o", "json", stdin=json.dumps(told.parent)))
    told.now = datetime.now(UTC)
    yield told
    installed.kubectl("delete", "cachedimage", NAME)
    installed.kubectl("delete", "namespace", TEAM)


def post(hooks: Component, image: Image, times: int = 3) -> None:
    """What Metacontroller sends; several times, as when what it wrote was not yet seen."""
    body = json.dumps(golden.request(STAGE, image.parent, list(image.jobs.values()), [])).encode()
    for _ in range(times):
        asked = urllib.request.Request(f"{hooks.url}/sync/cachedimage", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(asked, timeout=10) as answer:
            assert answer.status == 200


def events(plane: ControlPlane, where: str) -> list[dict[str, Any]]:
    found = json.loads(plane.kubectl("get", "events", "-n", where, "-o", "json"))["items"]
    ours = [one for one in found if one["source"].get("component") == "kube-image-keeper"]
    return sorted(ours, key=lambda one: (one["reason"], one["involvedObject"]["name"]))


def reasons(plane: ControlPlane, where: str = "default") -> list[str]:
    return [
        one["reason"] for one in events(plane, where) if where != "default" or one["involvedObject"]["name"] == NAME
    ]


def test_an_images_way_is_told_once_to_those_who_run_the_cluster_and_to_its_users(
    installed: ControlPlane, hooks: Component, image: Image
) -> None:
    post(hooks, image)
    wait_until(lambda: reasons(installed) == ["Copying"], "the copy is told")
    image.sync()
    image.fail("Unreachable")
    post(hooks, image)
    wait_until(lambda: len(reasons(installed, TEAM)) == 2, "the workloads are told")
    hooks.kill()
    hooks.start()
    post(hooks, image)
    image.sync()
    post(hooks, image)
    time.sleep(1)  # for the Events that there must not be
    assert reasons(installed) == ["CopyFailed", "Copying"]
    assert reasons(installed, TEAM) == ["ImageNotCached"] * 2
    gone, web = events(installed, TEAM)
    found = json.loads(installed.kubectl("get", "deployment", "-n", TEAM, "web", "-o", "json"))
    assert web["involvedObject"]["uid"] == found["metadata"]["uid"]
    assert gone["involvedObject"]["name"] == "gone"
    assert "uid" not in gone["involvedObject"]
    assert (web["type"], web["message"]) == (
        "Warning",
        "image reg.example.com/app:1 cannot be cached: Unreachable: no",
    )
    described = installed.kubectl("describe", "ci", NAME)
    assert "CopyFailed" in described
    assert "reg.example.com/app:1 could not be copied: Unreachable: no" in described
    assert "ImageNotCached" in installed.kubectl("describe", "deployment", "-n", TEAM, "web")
    log = hooks.log.read_text()
    assert "WARNING kube.events" not in log, log


def test_what_has_recovered_is_told_too(installed: ControlPlane, hooks: Component, image: Image) -> None:
    for fails in (True, False):
        image.sync()
        if fails:
            image.fail("NotFound")
        else:
            image.copied()
        post(hooks, image)
        image.sync()
        image.wait(3600)
    wait_until(lambda: "ImageCached" in reasons(installed, TEAM), "the workloads are told")
    web = [one for one in events(installed, TEAM) if one["reason"] == "ImageCached" and "uid" in one["involvedObject"]]
    assert [one["type"] for one in web] == ["Normal"]
    assert "is cached after it failed (NotFound)" in installed.kubectl("describe", "ci", NAME)


def test_a_namespace_that_goes_is_nothing_to_log(installed: ControlPlane, caplog: pytest.LogCaptureFixture) -> None:
    going = "going-" + "x" * 57
    installed.kubectl("create", "namespace", going)
    held = {"name": "held", "namespace": going, "finalizers": ["kuik.dev/test"]}
    installed.api.request("POST", f"api/v1/namespaces/{going}/configmaps", {"metadata": held})
    installed.kubectl("delete", "namespace", going, "--wait=false")
    recorder = Recorder(Api.from_kubeconfig(str(account(installed, "kuik-hooks"))))
    name = "w" * 236
    webs = [Involved("apps/v1", "Deployment", "web", where) for where in (going, "never-there")]
    last = Involved("kuik.dev/v1alpha1", "CachedImage", "last-of-all")
    with caplog.at_level(logging.INFO):
        recorder.say([Said(name, NORMAL, "Cached", "x", about) for about in (*webs, last)])
        path = f"api/v1/namespaces/default/events/{name}"
        wait_until(lambda: installed.api.raw("GET", path)[0] == 200, "the last Event is there", 20)
    assert not caplog.messages
    removed = {"metadata": {"finalizers": None}}
    kind = "application/merge-patch+json"
    installed.api.request("PATCH", f"api/v1/namespaces/{going}/configmaps/held", removed, kind)
