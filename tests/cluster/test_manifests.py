"""What `kubectl apply` makes of the project's YAML on a real API server."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.rig import metacontroller
from tests.cluster.rig.control_plane import ControlPlane

ROOT = Path(__file__).parents[2] / "metacontroller"
CRDS = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "crds").glob("*.yaml"))]
NAMES = [crd["metadata"]["name"] for crd in CRDS]


@pytest.mark.parametrize("name", NAMES)
def test_a_crd_is_established_and_structural(installed: ControlPlane, name: str) -> None:
    crd = json.loads(installed.kubectl("get", "crd", name, "-o", "json"))
    conditions = {one["type"]: (one["status"], one["message"]) for one in crd["status"]["conditions"]}
    assert conditions["Established"][0] == "True"
    assert conditions["NamesAccepted"][0] == "True"
    assert "NonStructuralSchema" not in conditions, conditions["NonStructuralSchema"]


@pytest.mark.parametrize("crd", CRDS, ids=NAMES)
def test_what_the_server_keeps_of_a_crd_is_what_is_written(installed: ControlPlane, crd: dict[str, Any]) -> None:
    """A field at a wrong place would be pruned here without a word."""
    kept = json.loads(installed.kubectl("get", "crd", crd["metadata"]["name"], "-o", "json"))
    for written, stored in zip(crd["spec"]["versions"], kept["spec"]["versions"], strict=True):
        assert stored["schema"] == written["schema"]
        assert stored["additionalPrinterColumns"] == [
            {"name": c["name"], "type": c["type"], "jsonPath": c["jsonPath"]} | _priority(c)
            for c in written["additionalPrinterColumns"]
        ]


def _priority(column: dict[str, Any]) -> dict[str, int]:
    return {"priority": column["priority"]} if column.get("priority") else {}


def changed(lines: list[str]) -> list[str]:
    """What kubectl changed. It always sends the selector of a PodDisruptionBudget, whose patch strategy is replace."""
    return [line for line in lines if not line.endswith(" unchanged") and "poddisruptionbudget" not in line]


def test_applying_twice_changes_nothing(installed: ControlPlane) -> None:
    for name in ("namespace.yaml", "crds/", "rbac.yaml", "hooks.yaml", "imagecache.yaml"):
        installed.kubectl("apply", "-f", str(ROOT / name))
        again = installed.kubectl("apply", "-f", str(ROOT / name)).splitlines()
        assert again
        assert changed(again) == []
    installed.kubectl("delete", "-f", str(ROOT / "imagecache.yaml"), "-f", str(ROOT / "hooks.yaml"))


@pytest.mark.usefixtures("with_metacontrollers_kinds")
def test_the_whole_kustomization_applies_strictly_and_twice(installed: ControlPlane) -> None:
    apply = ("apply", "--validate=strict", "-k", str(ROOT))
    installed.kubectl(*apply)
    again = installed.kubectl(*apply).splitlines()
    assert len(again) > 10
    assert changed(again) == []
    installed.kubectl("delete", "-f", str(ROOT / "controllers"), "-f", str(ROOT / "hooks.yaml"))


@pytest.fixture
def with_metacontrollers_kinds(real_metacontroller: None, installed: ControlPlane) -> None:
    metacontroller.install_crds(installed)


@pytest.mark.parametrize("name", NAMES)
def test_explain_knows_every_field(installed: ControlPlane, name: str) -> None:
    kind = name.partition(".")[0]
    said = installed.kubectl("explain", kind, "--recursive")
    assert "<empty>" not in installed.kubectl("explain", kind)
    assert "spec\t" in said


def test_explain_tells_what_a_cached_image_is_made_of(installed: ControlPlane) -> None:
    said = installed.kubectl("explain", "cachedimage.spec")
    for words in ("image\t<string> -required-", "canonical name", "usedBy\t<[]string>", "unusedSince\t<string>"):
        assert words in said


def test_kubectl_get_shows_the_columns(installed: ControlPlane) -> None:
    spec = {"image": "docker.io/library/nginx:1", "users": 3}
    image = {"apiVersion": "kuik.dev/v1alpha1", "kind": "CachedImage", "metadata": {"name": "columns"}, "spec": spec}
    installed.kubectl("create", "-f", "-", stdin=json.dumps(image))
    installed.api.patch(image, {"status": {"phase": "Cached", "size": 4096, "digest": "sha256:1"}}, "status")
    narrow = installed.kubectl("get", "ci").splitlines()
    assert narrow[0].split() == ["NAME", "IMAGE", "PHASE", "SIZE", "USED-BY", "AGE"]
    assert narrow[1].split()[:5] == ["columns", "docker.io/library/nginx:1", "Cached", "4096", "3"]
    wide = installed.kubectl("get", "ci", "-o", "wide").splitlines()
    assert wide[0].split()[-2:] == ["DIGEST", "REASON"]
    assert "cachedimage.kuik.dev/columns" in installed.kubectl("get", "kuik", "-o", "name")
    installed.kubectl("delete", "ci", "columns")


def test_the_status_of_an_object_is_not_part_of_what_people_write(installed: ControlPlane) -> None:
    image = {
        "apiVersion": "kuik.dev/v1alpha1",
        "kind": "CachedImage",
        "metadata": {"name": "told"},
        "spec": {"image": "docker.io/library/nginx:1"},
        "status": {"phase": "Cached"},
    }
    installed.kubectl("create", "-f", "-", stdin=json.dumps(image))
    assert "status" not in json.loads(installed.kubectl("get", "ci", "told", "-o", "json"))
    installed.kubectl("delete", "ci", "told")
