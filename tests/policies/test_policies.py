"""Every policy in `policies/` does what its cases say."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from hooks.facts import Settings
from kube.types import API_VERSION, IMAGE_INVENTORY
from kuik.driver.controllers import load
from kuik.driver.loop import Driver
from kuik.driver.objects import Objects
from kuik.local.hooks import LocalHooks
from kuik.local.manifests import parse
from kuik.local.workloads import cluster_objects

FOLDER = Path(__file__).parents[2] / "policies"
CASES = [
    pytest.param(path.parent, case, id=f"{path.parent.name}: {case['reason']}")
    for path in sorted(FOLDER.glob("*/cases.yaml"))
    for case in yaml.safe_load(path.read_text())
]


def now() -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC)


def entries(objects: list[Any]) -> list[dict[str, Any]]:
    """What the inventories of a cluster with these objects say."""
    store = Objects(now)
    for obj in cluster_objects(objects).values():
        store.put(obj)
    inventory = [controller for controller in load() if controller.stage == "inventory"]
    Driver(store, inventory, LocalHooks(Settings()), now).settle()
    return [entry for one in store.list(API_VERSION, IMAGE_INVENTORY) for entry in one["spec"]["images"]]


def decisions(found: list[dict[str, Any]]) -> dict[str, str]:
    """Image by image, what stage 1 decides; Cache wins over namespaces."""
    decided: dict[str, str] = {}
    for entry in found:
        decided[entry["image"]] = min(entry["decision"], decided.get(entry["image"], "Ignore"))
    return decided


def says(found: list[dict[str, Any]], setting: str) -> dict[str, Any]:
    return {entry["image"]: entry[setting] for entry in found if setting in entry}


@pytest.mark.parametrize(("folder", "case"), CASES)
def test_case(folder: Path, case: dict[str, Any]) -> None:
    policy = parse((folder / "policy.yaml").read_text(), str(folder))
    found = entries([*(obj for obj in policy if obj["kind"] != "Deployment"), *case["objects"]])
    assert decisions(found) == case["expect"]
    for setting in ("retention", "refresh"):
        assert says(found, setting) == case.get(setting, {})


def test_every_policy_has_its_parts_and_is_listed() -> None:
    listed = (FOLDER / "README.md").read_text()
    for folder in (path for path in FOLDER.iterdir() if path.is_dir()):
        assert {"policy.yaml", "cases.yaml", "kustomization.yaml"} <= {path.name for path in folder.iterdir()}
        assert f"[{folder.name}]({folder.name})" in listed
