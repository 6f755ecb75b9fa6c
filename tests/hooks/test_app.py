"""The endpoints as Metacontroller and the API server call them."""

from collections.abc import Iterable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from hooks.app import create_app
from hooks.facts import Context, Known, Settings
from hooks.observe import Observer
from hooks.stages import STAGES
from registry.reference import Reference
from tests.hooks import golden
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
    everywhere = [rule["resource"] for rule in rules if rule.get("namespace") != "shop"]
    assert everywhere == ["clustercachepolicies"]


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
