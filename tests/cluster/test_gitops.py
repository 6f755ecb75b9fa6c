"""Policies and the examples for Argo CD and Flux as kubectl builds them and the API server takes them."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.rig.control_plane import ControlPlane
from tests.cluster.rig.helm import kinds_that_take_anything

ROOT = Path(__file__).parents[2]
FOLDERS = sorted(
    str(file.parent.relative_to(ROOT))
    for place in ("policies", "examples")
    for file in (ROOT / place).glob("*/kustomization.yaml")
    if yaml.safe_load(file.read_text())["kind"] == "Kustomization"
)
OTHERS = {
    "argoproj.io/v1alpha1": ["Application"],
    "source.toolkit.fluxcd.io/v1": ["GitRepository", "HelmRepository"],
    "helm.toolkit.fluxcd.io/v2": ["HelmRelease"],
    "kustomize.toolkit.fluxcd.io/v1": ["Kustomization"],
}


@pytest.fixture(scope="module")
def server(installed: ControlPlane) -> ControlPlane:
    for api_version, kinds in OTHERS.items():
        kinds_that_take_anything(installed, api_version, *kinds, scope="Namespaced")
    for name in ("argocd", "flux-system", "shop"):
        installed.try_kubectl("create", "namespace", name)
    return installed


@pytest.mark.parametrize("folder", FOLDERS)
def test_what_a_folder_builds_is_taken_strictly(server: ControlPlane, folder: str) -> None:
    built = [one for one in yaml.safe_load_all(server.kubectl("kustomize", str(ROOT / folder))) if one]
    assert built
    words = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-")
    said = server.kubectl(*words, stdin=yaml.safe_dump_all(built))
    assert len(said.splitlines()) == len(built)


def test_the_defaults_are_cluster_policies_about_system_and_operators(server: ControlPlane) -> None:
    built: list[dict[str, Any]] = list(yaml.safe_load_all(server.kubectl("kustomize", str(ROOT / "policies/defaults"))))
    assert {(one["kind"], one["metadata"]["name"]) for one in built} == {
        ("ClusterCachePolicy", "system"),
        ("ClusterCachePolicy", "operators"),
    }
    matches = json.dumps([rule["match"] for one in built for rule in one["spec"]["rules"]])
    for name in ("kube-system", "kuik-system", "metacontroller", "Cluster"):
        assert f'"{name}"' in matches
