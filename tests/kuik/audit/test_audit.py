"""Numbers of mode Audit, from what admission itself notes on pods."""

import json
from typing import Any

import jsonpatch

from hooks.admission import Mode, Request, admit
from hooks.facts import Settings
from hooks.rewrite import Rules, everything_public
from kuik.audit import numbers


def pod(namespace: str, *containers: dict[str, Any], **fields: Any) -> dict[str, Any]:
    named = [{"name": f"c{at}", **one} for at, one in enumerate(containers)]
    return {"metadata": {"name": "p", "namespace": namespace}, "spec": {"containers": named}, **fields}


def audited(one: dict[str, Any], mode: Mode = Mode.AUDIT) -> dict[str, Any]:
    """The pod as the API server makes it after admission."""
    answer = admit(Request("u", "shop", one), Rules(Settings(), everything_public), mode)
    made: dict[str, Any] = jsonpatch.apply_patch(one, list(answer.operations))
    return made


def test_what_on_would_do_is_counted_by_namespace_and_reason() -> None:
    images = ({"image": "nginx:1"}, {"image": "app:1", "imagePullPolicy": "Never"})
    found = numbers([audited(pod("shop", *images)), audited(pod("shop", images[0])), pod("other", images[0])])
    assert found["shop"].document("shop") == {
        "namespace": "shop",
        "pods": 2,
        "audited": 2,
        "rewritten": 0,
        "wouldRewriteContainers": 2,
        "leftContainers": {"PullNever": 1},
    }
    assert (found["other"].pods, found["other"].audited) == (1, 0)


def test_pods_that_are_rewritten_are_told_and_ended_ones_are_not() -> None:
    ended = pod("shop", {"image": "nginx:1"}, status={"phase": "Succeeded"})
    found = numbers([audited(pod("shop", {"image": "nginx:1"}), Mode.ON), ended])
    assert (found["shop"].pods, found["shop"].rewritten, found["shop"].would) == (1, 1, 0)


def test_annotations_that_are_none_of_ours_count_nothing() -> None:
    odd = pod("shop", {"image": "nginx:1"})
    for text in ("no JSON", "[1]", json.dumps({"c0": 5}), "[" * 9999):
        odd["metadata"]["annotations"] = {"kuik.dev/left-alone": text}
        assert numbers([odd])["shop"].would == 0
