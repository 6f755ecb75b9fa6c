"""Which images may be removed, and when they are gone."""

import json
from typing import Any

import pytest

from kube.types import Object
from kuik.local.store import Held
from kuik.removal.choice import choose, choose_all
from kuik.removal.wish import await_all, went


def held(image: str, **spec: Any) -> Held:
    return Held(image, {"metadata": {"name": image}, "spec": {"image": image, **spec}}, None)


FOUND = {one.image: one for one in (held("free"), held("used", usedBy=["ns/Pod/x"]), held("kept", retain=True))}
FOUND["many"] = held("many", users=3)


def test_what_is_used_goes_by_force_alone_and_what_is_retained_never() -> None:
    assert [one.image for one in choose(["free"], FOUND, "here", force=False).chosen] == ["free"]
    refused = choose(["used", "many", "kept", "none"], FOUND, "the store", force=False)
    assert not refused.chosen
    for said, why in zip(
        refused.refused, ("used by ns/Pod/x", "used by 3 workloads", "is retained", "is not in the store"), strict=True
    ):
        assert why in said
    forced = choose_all(FOUND.values(), force=True)
    assert [one.image for one in forced.chosen] == ["free", "many", "used"]
    assert [why.split()[0] for why in forced.refused] == ["kept"]


def told(*states: str) -> Object:
    digest = "sha256:" + "0" * 64
    reports = {
        f"volume.kuik.dev/v{number}": json.dumps({"at": "2026-01-01T00:00:00Z", "digest": digest, "state": state})
        for number, state in enumerate(states)
    }
    return {"metadata": {"name": "a", "annotations": reports}, "status": {"digest": digest}}


@pytest.mark.parametrize(
    ("image", "gone"),
    [
        (None, True),
        ({"metadata": {"name": "a"}}, True),
        (told(), False),
        (told("Whole"), False),
        (told("Removed", "Whole"), False),
        (told("Removed", "Removed"), True),
    ],
)
def test_gone_is_what_no_volume_holds(image: Object | None, gone: bool) -> None:
    assert went(image) is gone


def test_waiting_ends() -> None:
    states = iter([told("Whole"), told("Whole"), told("Removed")])
    slept: list[float] = []
    assert await_all(lambda: {"a": next(states)}, ["a"], 10, slept.append) == []
    assert slept == [1.0, 1.0]
    assert await_all(lambda: {"a": told("Whole")}, ["a", "b"], 3, slept.append) == ["a"]
