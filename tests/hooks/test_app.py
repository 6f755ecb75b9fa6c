"""The endpoints as Metacontroller and the API server call them."""

import threading
import time
from collections.abc import Iterable
from typing import Any, cast

import pytest
from flask import Flask
from flask.testing import FlaskClient

from hooks.__main__ import _wants_events
from hooks.app import create_app
from hooks.facts import Context, Known, Settings
from hooks.inventory import HOOKS
from hooks.observe import InvalidSetting, Observer
from hooks.stages import STAGES
from kube.client import Api
from kube.events import Recorder
from registry.reference import Reference
from tests.hooks import golden
from tests.hooks.copying import Image
from tests.hooks.world import NOW


class Everything(Observer):
    """An edge for which every image is public."""

    def context(self, references: Iterable[Reference] = ()) -> Context:
        return Context(NOW, self.settings, lambda _: Known("public"))


@pytest.fixture
def app() -> Flask:
    return create_app(Everything(Settings()))


@pytest.mark.parametrize("folder", list(golden.folders())[::7], ids=lambda folder: folder.name)
def test_sync_answers_as_the_stage_does(client: FlaskClient, folder: Any) -> None:
    observed = golden.read(folder / "observed.yaml")
    stage = STAGES[folder.parent.name]
    parent = observed[stage.style.parent]
    body = golden.request(stage, parent, observed.get("children") or [], observed.get("related") or [])
    answered = client.post(f"/sync/{stage.name}", json=body)
    assert (answered.status_code, answered.mimetype) == (200, "application/json")
    assert stage.style.children in answered.get_json()


def test_customize_names_the_namespace_of_a_decorators_parent(client: FlaskClient) -> None:
    parent = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    rules = client.post("/customize/inventory", json={"controller": {}, "parent": parent}).get_json()[
        "relatedResources"
    ]
    assert {"apiVersion": "v1", "resource": "pods", "namespace": "shop"} in rules
    everywhere = {rule["resource"]: rule.get("labelSelector") for rule in rules if rule.get("namespace") != "shop"}
    assert everywhere == {"clustercachepolicies": None, "deployments": {"matchLabels": HOOKS}}


def test_a_related_kind_that_is_missing_is_an_error_and_no_empty_answer(client: FlaskClient) -> None:
    observed = golden.read(golden.CASES / "imagecache" / "unused" / "observed.yaml")
    stage = STAGES["imagecache"]
    body = golden.request(stage, observed["parent"], observed["children"], observed["related"])
    del body["related"]["ImageInventory.kuik.dev/v1alpha1"]
    answered = client.post("/sync/imagecache", json=body)
    assert answered.status_code == 500
    assert "ImageInventory" in answered.get_json()["error"]


@pytest.mark.parametrize(
    ("path", "body", "status", "word"),
    [
        ("/sync/nothing", b"{}", 404, "inventory"),
        ("/sync/inventory", b"{", 400, "JSON"),
        ("/sync/inventory", b"[]", 400, "object"),
        ("/sync/inventory", b'{"a":' * 5000, 400, "JSON"),
        ("/sync/inventory", b"{}", 500, "Namespace"),
        (
            "/sync/cachedimage",
            b'{"parent":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"}}}',
            500,
            "CachedImage",
        ),
    ],
)
def test_bad_requests_are_refused_with_words(
    client: FlaskClient, path: str, body: bytes, status: int, word: str
) -> None:
    answered = client.post(path, data=body, content_type="application/json")
    assert answered.status_code == status
    assert word in answered.get_json()["error"]


def test_health(client: FlaskClient) -> None:
    assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200


class _Slow:
    """An API server that does not answer for now."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.names: list[str] = []

    def create(self, _path: str, obj: dict[str, Any]) -> None:
        self.gate.wait(5)
        self.names.append(obj["metadata"]["name"])


def test_a_sync_says_what_happens_and_waits_for_nobody() -> None:
    api = _Slow()
    client = create_app(Everything(Settings()), Recorder(cast("Api", api))).test_client()
    image = Image()
    body = golden.request(STAGES["cachedimage"], image.parent, [], [])
    begun = time.monotonic()
    answers = [client.post("/sync/cachedimage", json=body).status_code for _ in range(3)]
    assert (answers, api.names) == ([200] * 3, [])
    assert time.monotonic() - begun < 2
    api.gate.set()
    while len(api.names) < 3:
        assert time.monotonic() - begun < 5
        time.sleep(0.01)
    assert len(set(api.names)) == 1, "the API server refuses the second"


@pytest.mark.parametrize(("said", "wanted"), [(None, True), ("on", True), ("off", False)])
def test_events_can_be_turned_off(said: str | None, wanted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUIK_EVENTS", raising=False)
    if said:
        monkeypatch.setenv("KUIK_EVENTS", said)
    assert _wants_events() is wanted
    monkeypatch.setenv("KUIK_EVENTS", "no")
    with pytest.raises(InvalidSetting, match="KUIK_EVENTS"):
        _wants_events()
