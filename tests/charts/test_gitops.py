"""The examples for Argo CD and Flux: their values are the chart's, and Argo CD is told the right health."""

import copy
from pathlib import Path
from typing import Any

import lupa.lua51
import pytest
import yaml

from tests.charts.test_values import VALIDATOR, with_values

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
APPLICATIONS = {
    one["metadata"]["name"]: one for one in yaml.safe_load_all((EXAMPLES / "argo-cd" / "applications.yaml").read_text())
}
RELEASE = next(
    one for one in yaml.safe_load_all((EXAMPLES / "flux" / "kuik.yaml").read_text()) if one["kind"] == "HelmRelease"
)
CHECKS = yaml.safe_load((EXAMPLES / "argo-cd" / "argocd-cm.yaml").read_text())["data"]


def test_values_in_the_examples_are_the_charts() -> None:
    values = [APPLICATIONS["kuik"]["spec"]["source"]["helm"]["valuesObject"], RELEASE["spec"]["values"]]
    for one in values:
        assert one["crds"] == {"upgrade": False}, "they bring the kinds up to date themselves"
        assert [error.message for error in VALIDATOR.iter_errors(with_values(one))] == []


def test_folders_in_the_examples_are_there() -> None:
    release = RELEASE["spec"]["chart"]["spec"]["chart"]
    flux = yaml.safe_load((EXAMPLES / "flux" / "policies.yaml").read_text())["spec"]["path"]
    folders = [APPLICATIONS[name]["spec"]["source"]["path"] for name in ("kuik", "kuik-policies")]
    for folder in (*folders, release, flux):
        assert (ROOT / folder).is_dir()


def test_waves_go_from_metacontroller_to_the_policies() -> None:
    waves = {
        name: int(one["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"]) for name, one in APPLICATIONS.items()
    }
    assert waves["metacontroller"] < waves["kuik"] < waves["kuik-policies"]


def condition(kind: str, status: str, reason: str = "Because", message: str = "Words.") -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def cache(*conditions: dict[str, Any], seen: int = 2) -> dict[str, Any]:
    status = {"observedGeneration": seen, "conditions": list(conditions)}
    return {"kind": "ImageCache", "metadata": {"name": "default", "generation": 2}, "spec": {}, "status": status}


def image(phase: str, *conditions: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "kind": "CachedImage",
        "metadata": {},
        "spec": spec,
        "status": {"phase": phase, "conditions": [*conditions]},
    }


HEALTH: dict[str, tuple[str, dict[str, Any], str]] = {
    "made a moment ago": ("kuik.dev_ImageCache", {"metadata": {"generation": 1}}, "Progressing"),
    "ready": ("kuik.dev_ImageCache", cache(condition("Ready", "True")), "Healthy"),
    "changed since": ("kuik.dev_ImageCache", cache(condition("Ready", "True"), seen=1), "Progressing"),
    "not ready": ("kuik.dev_ImageCache", cache(condition("Ready", "False")), "Degraded"),
    "not known": ("kuik.dev_ImageCache", cache(condition("Ready", "Unknown")), "Progressing"),
    "full": ("kuik.dev_ImageCache", cache(condition("Ready", "True"), condition("StoreFull", "True")), "Degraded"),
    "not full": ("kuik.dev_ImageCache", cache(condition("StoreFull", "False"), condition("Ready", "True")), "Healthy"),
    "cached": ("kuik.dev_CachedImage", image("Cached", condition("Cached", "True")), "Healthy"),
    "failed": ("kuik.dev_CachedImage", image("Failed", condition("Cached", "False", "NotFound")), "Degraded"),
    "copied now": ("kuik.dev_CachedImage", image("Copying", condition("Cached", "False", "Copying")), "Progressing"),
    "waiting": ("kuik.dev_CachedImage", image("Pending", suspend=True), "Suspended"),
    "new": ("kuik.dev_CachedImage", {"metadata": {}, "spec": {}}, "Progressing"),
    "an application": ("argoproj.io_Application", {"status": {"health": {"status": "Degraded"}}}, "Degraded"),
}


@pytest.mark.parametrize("name", HEALTH)
def test_health_as_argo_cd_is_told(name: str) -> None:
    kind, obj, expected = HEALTH[name]
    lua = lupa.lua51.LuaRuntime(unpack_returned_tuples=True)
    lua.globals().obj = lua.table_from(copy.deepcopy(obj), recursive=True)
    said = lua.execute(CHECKS[f"resource.customizations.health.{kind}"])
    assert said["status"] == expected
    assert isinstance(said["message"], str)
