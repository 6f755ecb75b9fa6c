"""A run of rescue against a double of the API server: what it reads, what it patches, what it says and exits with."""

import base64
import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any

import jsonpatch
import pytest
from click.testing import CliRunner, Result

from kube.client import Api, KubernetesError
from kuik.rescue.__main__ import main
from kuik.rescue.perform import MOST
from tests.kuik.rescue.world import KEY, NGINX, PROXIED, cached, pod

KUIK = "api/v1/namespaces/kuik-system"
READY = {"metadata": {}, "spec": {"nodeName": "node"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}


class Double(Api):
    """Lists by path, pods that patches change as the API server would, and errors by path."""

    def __init__(self, *pods: dict[str, Any], ready: bool = True) -> None:
        self.lists: dict[str, list[Any]] = {
            "api/v1/namespaces/shop/pods": list(pods),
            f"{KUIK}/pods": [READY] if ready else [],
            "api/v1/namespaces": [{"metadata": {"name": "shop"}}],
            "apis/kuik.dev/v1alpha1/clustercachepolicies": [],
            "apis/kuik.dev/v1alpha1/cachepolicies": [],
            "apis/kuik.dev/v1alpha1/cachedimages": [cached(NGINX)],
        }
        self.objects = {f"api/v1/namespaces/shop/pods/{one['metadata']['name']}": one for one in pods}
        self.objects[f"{KUIK}/secrets/kuik-capability"] = {"data": {"current": base64.b64encode(KEY).decode()}}
        self.errors: dict[str, int] = {}
        self.patched: list[str] = []

    def items(self, path: str, query: Mapping[str, str] | None = None) -> Iterator[Any]:
        self._fail("LIST", path)
        yield from copy.deepcopy(self.lists[path])

    def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        self._fail("GET", path)
        if path not in self.objects:
            raise KubernetesError(f"GET {path}: 404", 404)
        return copy.deepcopy(self.objects[path])

    def patch(self, path: str, change: Any, kind: str = "") -> dict[str, Any]:
        self._fail("PATCH", path)
        try:
            self.objects[path] = jsonpatch.apply_patch(self.objects[path], change)
        except jsonpatch.JsonPatchTestFailed as error:
            raise KubernetesError(f"PATCH {path}: 422", 422) from error
        self.patched.append(path)
        return self.objects[path]

    def _fail(self, method: str, path: str) -> None:
        status = self.errors.get(f"{method} {path}")
        if status is not None:
            raise KubernetesError(f"{method} {path}: {status}", status)


def named(name: str, *images: str) -> dict[str, Any]:
    found = pod(*images)
    found["metadata"]["name"] = name
    return found


def run(api: Double, monkeypatch: pytest.MonkeyPatch, *options: str) -> Result:
    monkeypatch.setattr(Api, "in_cluster", lambda: api)
    return CliRunner().invoke(main, ["--namespace", "shop", *options])


def test_it_says_each_container_and_sums_up(monkeypatch: pytest.MonkeyPatch) -> None:
    api = Double(named("a", "nginx:1.27"), named("b", "other:1"))
    said = run(api, monkeypatch)
    assert said.exit_code == 0, said.output
    assert said.stderr == f"Done shop/a container c0 nginx:1.27 -> {PROXIED}\n"
    assert said.stdout.split() == ["NAMESPACE", "DIRECTION", "RESULT", "CONTAINERS", "shop", "ToProxy", "Done", "1"]
    assert len(api.patched) == 1


def test_a_dry_run_patches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    api = Double(named("a", "nginx:1.27"))
    said = run(api, monkeypatch, "--dry-run", "-o", "json")
    expected = [{"namespace": "shop", "direction": "ToProxy", "result": "Would", "containers": 1}]
    assert (said.exit_code, json.loads(said.stdout), api.patched) == (0, expected, [])


def test_a_run_patches_no_more_than_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    api = Double(*(named(f"p{at}", "nginx:1.27") for at in range(MOST + 5)))
    assert run(api, monkeypatch).exit_code == 0
    assert len(api.patched) == MOST == 500


@pytest.mark.parametrize("status", [0, 403, 500])
def test_a_refusal_is_told_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    api = Double(named("a", "nginx:1.27"), named("b", "nginx:1.27"))
    api.errors["PATCH api/v1/namespaces/shop/pods/a"] = status
    said = run(api, monkeypatch)
    assert said.exit_code == 1
    assert f"Failed shop/a container c0 nginx:1.27 -> {PROXIED}: PATCH" in said.stderr
    assert api.patched == ["api/v1/namespaces/shop/pods/b"]


@pytest.mark.parametrize("status", [404, 409, 422])
def test_a_pod_that_changed_or_went_is_no_failure(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    api = Double(named("a", "nginx:1.27"))
    path = "api/v1/namespaces/shop/pods/a"
    api.errors[f"PATCH {path}"] = status
    if status == 404:
        del api.objects[path]
    else:
        api.objects[path] = {**named("a", "other:2"), "metadata": {**pod()["metadata"], "resourceVersion": "2"}}
    said = run(api, monkeypatch)
    assert said.exit_code == 0
    assert said.stderr.startswith("ChangedMeanwhile shop/a")


def test_what_the_api_server_does_not_take_of_an_unchanged_pod_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    api = Double(named("a", "nginx:1.27"))
    api.errors["PATCH api/v1/namespaces/shop/pods/a"] = 422
    assert run(api, monkeypatch).exit_code == 1


@pytest.mark.parametrize(
    "path",
    [
        "LIST apis/kuik.dev/v1alpha1/cachedimages",
        "LIST apis/kuik.dev/v1alpha1/cachepolicies",
        "LIST api/v1/namespaces",
        f"GET {KUIK}/secrets/kuik-capability",
    ],
)
def test_originals_are_given_back_even_where_the_rest_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    api = Double(named("a", PROXIED), ready=False)
    api.errors[path] = 403
    said = run(api, monkeypatch)
    assert said.exit_code == 1
    assert "nothing is pointed to the proxy: " in said.stderr
    assert f"Done shop/a container c0 {PROXIED} -> {NGINX}" in said.stderr
    forth = Double(named("a", "nginx:1.27"))
    forth.errors[path] = 403
    assert (run(forth, monkeypatch).exit_code, forth.patched) == (1, [])


def test_a_policy_that_cannot_be_read_points_nothing_to_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    api = Double(named("a", "nginx:1.27"))
    api.lists["apis/kuik.dev/v1alpha1/clustercachepolicies"] = [
        {"metadata": {"name": "p"}, "spec": {"rules": [{"name": "r", "action": "Explode"}]}}
    ]
    assert (run(api, monkeypatch).exit_code, api.patched) == (1, [])


def test_nothing_is_done_while_it_is_not_known_which_proxies_are_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    api = Double(named("a", PROXIED), ready=False)
    api.errors[f"LIST {KUIK}/pods"] = 500
    said = run(api, monkeypatch)
    assert (said.exit_code, api.patched) == (1, [])
    assert "Error: LIST" in said.stderr


def test_a_missing_key_leaves_private_images_alone_and_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    api = Double(named("a", "nginx:1.27"))
    del api.objects[f"{KUIK}/secrets/kuik-capability"]
    assert (run(api, monkeypatch).exit_code, len(api.patched)) == (0, 1)
