"""Rewriting pods: what changes, what never does, and that the patch and the function agree."""

import copy
import json
from collections.abc import Mapping
from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hooks.containers import ORIGINALS
from hooks.facts import Absent, Access, Known, Settings, Unknown
from hooks.rewrite import Rules, everything_public, patch, plan, references, rewrite_pod
from registry.proxied import original
from registry.reference import Reference
from tests.hooks.world import namespace, pods

PUBLIC = Rules(Settings(), everything_public)


def patched(pod: Mapping[str, Any]) -> dict[str, Any]:
    operations = patch(pod, plan(pod, PUBLIC))
    result: dict[str, Any] = jsonpatch.apply_patch(copy.deepcopy(dict(pod)), operations)
    return result


def pod(image: str, meta: Mapping[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    container = {"name": "c", "image": image, **spec.pop("container", {})}
    return {"metadata": {"name": "p", **(meta or {})}, "spec": {"containers": [container], **spec}}


def reasons(found: Mapping[str, Any], rules: Rules = PUBLIC) -> list[str]:
    return [left.why.rule for left in plan(found, rules).left]


@given(pods())
def test_the_patch_does_what_the_function_does_and_leaves_its_input(found: dict[str, Any]) -> None:
    before = copy.deepcopy(found)
    assert patched(found) == rewrite_pod(found, PUBLIC)
    assert found == before


@given(pods())
def test_it_is_idempotent(found: dict[str, Any]) -> None:
    once = patched(found)
    assert patch(once, plan(once, PUBLIC)) == []


@given(pods())
def test_nothing_but_images_and_the_annotation_changes(found: dict[str, Any]) -> None:
    after = patched(found)
    for field in ("containers", "initContainers"):
        for entry in after["spec"].get(field, ()):
            entry.pop("image")
    stripped = copy.deepcopy(found)
    for field in ("containers", "initContainers"):
        for entry in stripped["spec"].get(field, ()):
            entry.pop("image")
    noted = after["metadata"].get("annotations", {}).pop(ORIGINALS, None)
    if noted is not None and "annotations" not in stripped["metadata"]:
        assert after["metadata"].pop("annotations") == {}
    assert after == stripped


@given(pods())
def test_every_rewritten_name_maps_back_to_its_original(found: dict[str, Any]) -> None:
    decided = plan(found, PUBLIC)
    after = patched(found)
    for change in decided.changes:
        image = after["spec"][change.field][change.position]["image"]
        assert original(Reference.parse(image)) == Reference.parse(change.before)
        assert json.loads(after["metadata"]["annotations"][ORIGINALS])[change.container] == change.before


@given(pods(), st.sampled_from([Absent(), Unknown("late"), Known("private")]))
def test_only_what_is_known_to_be_public_is_rewritten(found: dict[str, Any], access: Access) -> None:
    assert plan(found, Rules(Settings(), lambda _: access)).changes == ()


def test_the_facts_to_ask_for_are_the_images_that_would_be_rewritten() -> None:
    found = pod("nginx:1", initContainers=[{"name": "i", "image": "localhost:5000/own:1"}])
    assert references(found, PUBLIC) == {Reference.parse("nginx:1")}
    opted_out = pod("nginx:1", {"labels": {"kuik.dev/cache": "false"}})
    assert references(opted_out, PUBLIC) == frozenset()


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (pod("nginx", {"labels": {"kuik.dev/cache": "false"}}), "PodLabel"),
        (pod("nginx", {"labels": {"kube-image-keeper.enix.io/image-caching-policy": "ignore"}}), "PodLabel"),
        (pod("nginx", {"annotations": {"kubernetes.io/config.mirror": "x"}}), "MirrorPod"),
        (pod("nginx", os={"name": "windows"}), "Windows"),
        (pod("nginx", nodeSelector={"kubernetes.io/os": "windows"}), "Windows"),
        (pod("nginx", container={"imagePullPolicy": "Never"}), "PullNever"),
        (pod("localhost:5000/a"), "LoopbackRegistry"),
        (pod("127.0.0.1/a"), "LoopbackRegistry"),
        (pod("[2001:db8::1]:5000/a"), "IPv6Literal"),
        (pod("reg.example.com/" + "a" * 250), "NameTooLong"),
        (pod("Nginx"), "InvalidReference"),
        (pod("localhost:7439/docker.io/library/nginx"), "Rewritten"),
    ],
)
def test_what_is_left_alone_has_its_reason(found: dict[str, Any], reason: str) -> None:
    assert reasons(found) == [reason]
    assert rewrite_pod(found, PUBLIC) is found


def test_a_namespace_opts_out_unless_the_pod_says_otherwise() -> None:
    rules = Rules(Settings(), everything_public, namespace("shop", **{"kuik.dev/cache": "false"}))
    assert reasons(pod("nginx"), rules) == ["NamespaceLabel"]
    assert reasons(pod("nginx", {"labels": {"kuik.dev/cache": "true"}}), rules) == []


def test_a_template_without_metadata_is_rewritten_too() -> None:
    template = {"spec": {"containers": [{"name": "c", "image": "nginx"}]}}
    assert (
        rewrite_pod(template, PUBLIC)["spec"]["containers"][0]["image"]
        == "localhost:7439/docker.io/library/nginx:latest"
    )
    assert patched(template) == rewrite_pod(template, PUBLIC)


def test_a_container_added_later_joins_the_annotation() -> None:
    once = patched(pod("nginx"))
    once["spec"]["containers"].append({"name": "side", "image": "busybox"})
    twice = patched(once)
    assert json.loads(twice["metadata"]["annotations"][ORIGINALS]) == {"c": "nginx", "side": "busybox"}
