"""Policies on a real API server: what is refused and by which field, what is filled in, and how it is explained."""

from typing import Any

import pytest

from kuik.local.documents import ManifestError
from kuik.local.policies import checked
from tests.cluster.rig.api import Object, Refused
from tests.cluster.rig.control_plane import ControlPlane

KINDS = {"ClusterCachePolicy": "clustercachepolicies", "CachePolicy": "namespaces/default/cachepolicies"}


def policy(kind: str, *rules: Any, **spec: Any) -> Object:
    said = {"rules": list(rules), **spec} if rules else spec
    return {"apiVersion": "kuik.dev/v1alpha1", "kind": kind, "metadata": {"name": "p"}, "spec": said}


def rule(**others: Any) -> dict[str, Any]:
    return {"name": "r", "action": "Cache", **others}


def selected(**expression: Any) -> dict[str, Any]:
    return rule(match={"podSelector": {"matchExpressions": [{"key": "app", **expression}]}})


def verdict(plane: ControlPlane, obj: Object) -> Object:
    """The API server's own, without storing the object."""
    path = f"apis/kuik.dev/v1alpha1/{KINDS[obj['kind']]}?dryRun=All&fieldValidation=Strict"
    return plane.api.request("POST", path, obj)


BAD: dict[str, tuple[list[Any], dict[str, Any], str]] = {
    "empty": ([], {}, "spec"),
    "action": ([rule(action="Keep")], {}, "action"),
    "no-action": ([{"name": "r"}], {}, "action"),
    "name": ([rule(name="Upper")], {}, "name"),
    "twice": ([rule(), rule()], {}, "rules"),
    "unknown": ([rule(match={"image": ["x"]})], {}, "image"),
    "retention": ([rule(retention="30 days")], {}, "retention"),
    "refresh": ([rule(refresh={"mode": "Now"})], {}, "mode"),
    "interval": ([rule(refresh={"mode": "Sync", "interval": "often"})], {}, "interval"),
    "platform": ([rule(platforms=["linux"])], {}, "platforms"),
    "image": ([], {"images": ["a b"]}, "images"),
    "image-expression": ([rule(match={"images": ["docker.io/(a|b)"]})], {}, "images"),
    "cel-ignore-referrers": ([rule(action="Ignore", referrers=True)], {}, "action Ignore caches nothing"),
    "cel-ignore-keeps": ([rule(action="Ignore", retention="1d")], {}, "action Ignore caches nothing"),
    "cel-in": ([selected(operator="In")], {}, "In and NotIn need values"),
    "cel-exists": ([selected(operator="Exists", values=["a"])], {}, "In and NotIn need values"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", BAD)
def test_a_bad_policy_is_refused_by_its_field(installed: ControlPlane, name: str, kind: str) -> None:
    rules, spec, said = BAD[name]
    with pytest.raises(Refused) as refused:
        verdict(installed, policy(kind, *rules, **spec))
    assert said in str(refused.value)
    assert "spec" in str(refused.value)


@pytest.mark.parametrize("name", BAD)
def test_the_command_line_refuses_it_too(name: str) -> None:
    rules, spec, _ = BAD[name]
    with pytest.raises(ManifestError):
        checked(policy("CachePolicy", *rules, **spec), "p.yaml")


@pytest.mark.parametrize("kind", KINDS)
def test_defaults_are_filled_in_as_the_command_line_does(installed: ControlPlane, kind: str) -> None:
    said = policy(kind, rule(refresh={"mode": "Sync"}), selected(operator="Exists") | {"name": "s"})
    stored = verdict(installed, said)["spec"]
    assert stored["rules"][0]["match"] == {}
    assert stored["rules"][0]["refresh"] == {"mode": "Sync", "interval": "1h"}
    assert stored["rules"][0].get("enforced") == (False if kind == "ClusterCachePolicy" else None)
    assert stored == checked(said, "p.yaml")["spec"]


def test_it_is_explained(installed: ControlPlane) -> None:
    said = installed.kubectl("explain", "clustercachepolicy.spec.rules.match")
    for words in ("all that is named must fit", "ownerKinds", "podSelector", "namespaces", "stands for any"):
        assert words in " ".join(said.split())
