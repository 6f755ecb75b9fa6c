"""A namespace with more images than one ImageInventory can hold: its parts, and that none is taken for the whole."""

import json
from typing import Any

import pytest

from hooks import parts
from hooks.facts import Context, Known
from hooks.messages import answer
from hooks.stages import STAGES
from kube.schema import validate
from tests.hooks import golden
from tests.hooks.world import NOW, image_cache, namespace

ANNOTATIONS = 256 * 1024  # bytes, as the API server counts them
MANY = 3000


def deployments(count: int) -> list[Any]:
    return [deployment(number) for number in range(count)]


def deployment(number: int) -> dict[str, Any]:
    image = f"registry.example.com/team/branches/application-{number}:2026-03-01-{number:040x}"
    template = {"spec": {"containers": [{"name": "c", "image": image}]}}
    meta = {"name": f"application-{number}", "namespace": "shop"}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": {"template": template}}


def inventories(count: int) -> list[dict[str, Any]]:
    asked = golden.request(STAGES["inventory"], namespace("shop"), [], deployments(count))
    found: list[dict[str, Any]] = answer(STAGES["inventory"], asked, Context(NOW))["attachments"]
    return found


def cached(children: list[Any], found: list[Any]) -> tuple[list[dict[str, Any]], str]:
    """The CachedImages that stage 2 wants, and the reason of condition Ready."""
    asked = golden.request(STAGES["imagecache"], image_cache(), children, [namespace("shop"), *found])
    said = answer(STAGES["imagecache"], asked, Context(NOW, in_use=Known(frozenset[str]())))
    ready = next(one["reason"] for one in said["status"]["conditions"] if one["type"] == "Ready")
    return [child for child in said["children"] if child["kind"] == "CachedImage"], ready


def test_each_part_is_one_that_the_api_server_takes_together_with_what_metacontroller_notes_in_it() -> None:
    found = inventories(MANY)
    assert len(found) > 1
    assert [one["metadata"]["name"] for one in found[:2]] == ["shop", "shop.2"]
    assert [str(error) for one in found for error in validate(one)] == []
    assert max(len(json.dumps(one)) for one in found) < ANNOTATIONS
    images = [entry["image"] for one in found for entry in one["spec"]["images"]]
    assert len(set(images)) == len(images) == MANY
    made, ready = cached([], found)
    assert (len(made), ready) == (MANY, "Copying")


def test_few_images_are_in_one_part_that_says_nothing_of_parts() -> None:
    (one,) = inventories(3)
    assert "parts" not in one["spec"]


def test_names_that_go_writes_six_times_as_long_fit_too() -> None:
    entries = [{"image": f"{number}" + "<" * 500} for number in range(100)]
    for one in parts.split(entries):
        written = json.dumps(one).replace("<", "\\u003c")
        assert len(written) < ANNOTATIONS


def test_an_image_stays_in_its_part_while_there_are_as_many_parts() -> None:
    before, after = inventories(MANY), inventories(MANY + 1)
    assert len(before) == len(after)
    assert sum(one != other for one, other in zip(before, after, strict=True)) == 1


@pytest.mark.parametrize("at", [0, 1, -1])
def test_a_part_that_is_missing_or_from_another_time_makes_no_image_unused(at: int) -> None:
    whole = inventories(MANY)
    children, _ = cached([], whole)
    for spoilt in (None, {**whole[at], "spec": {"namespace": "shop", "images": [], "parts": len(whole) * 2}}):
        found = [*whole]
        found[at : len(found) if at == -1 else at + 1] = [spoilt] if spoilt else []
        desired, ready = cached(children, found)
        assert ready == "InventoryMissing"
        assert [child["spec"]["image"] for child in desired if "unusedSince" in child["spec"]] == []
        assert len(desired) == MANY


def test_parts_that_are_left_over_from_more_images_are_no_doubt_for_ever_and_no_answer_either() -> None:
    before, (after,) = inventories(MANY), inventories(3)
    assert cached([], [after, *before[1:]])[1] == "InventoryMissing"
    assert cached([], [after])[1] == "Copying"
