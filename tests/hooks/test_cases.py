"""Every golden case, whole: each says its reason in its first line."""

import json
from pathlib import Path

import pytest

from kube.schema import validate
from kube.types import API_VERSION
from tests.hooks import golden

FOLDERS = list(golden.folders())


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: f"{folder.parent.name}/{folder.name}")
def test_the_answer_is_the_one_in_the_case(folder: Path) -> None:
    reason = golden.read(folder / "observed.yaml").get("reason")
    assert reason, "a case opens with its reason"
    answered = json.loads(json.dumps(golden.run(folder)))
    assert answered == golden.read(folder / "desired.yaml"), reason


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: f"{folder.parent.name}/{folder.name}")
def test_an_api_server_would_take_the_answer(folder: Path) -> None:
    answered = golden.run(folder)
    made = answered.get("children") or answered.get("attachments") or []
    ours = [child for child in made if child["apiVersion"] == API_VERSION]
    parent = golden.read(folder / "observed.yaml").get("parent")
    if parent is not None:
        ours.append({**parent, "status": answered["status"]})
    assert [str(error) for obj in ours for error in validate(obj)] == []


def test_there_are_cases_of_every_stage() -> None:
    assert {folder.parent.name for folder in FOLDERS} == {"inventory", "imagecache", "cachedimage", "prefetch"}
