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
from kuik.local.engine import LocalHooks
from kuik.local.workloads import cluster_objects

FOLDER = Path(__file__).parents[2] / "policies"
CASES = [
    pytest.param(path.parent, case, id=f"{path.parent.name}: {case['reason']}")
    for path in sorted(FOLDER.glob("*/cases.yaml"))
    for case in yaml.safe_load(path.read_text())
]


def now() -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC)


def decisions(objects: list[Any]) -> dict[str, str]:
    """Image by image, what stage 1 decides for a cluster with these objects; Cache wins over namespaces."""
    store = Objects(now)
    for obj in cluster_objects(objects).values():
        store.put(obj)
    inventory = [controller for controller in load() if controller.stage == "inventory"]
    Driver(store, inventory, LocalHooks(Settings()), now).settle()
    found: dict[str, str] = {}
    for one in store.list(API_VERSION, IMAGE_INVENTORY):
        for entry in one["spec"]["images"]:
            found[entry["image"]] = min(entry["decision"], found.get(entry["image"], "Ignore"))
    return found


@pytest.mark.parametrize(("folder", "case"), CASES)
def test_case(folder: Path, case: dict[str, Any]) -> None:
    policy = [obj for obj in yaml.safe_load_all((folder / "policy.yaml").read_text()) if obj["kind"] == "Namespace"]
    assert decisions([*policy, *case["objects"]]) == case["expect"]


def test_every_policy_has_its_parts_and_is_listed() -> None:
    listed = (FOLDER / "README.md").read_text()
    for folder in (path for path in FOLDER.iterdir() if path.is_dir()):
        assert {"policy.yaml", "cases.yaml", "kustomization.yaml"} <= {path.name for path in folder.iterdir()}
        assert f"[{folder.name}]({folder.name})" in listed
