"""`kuik policy lint`: what is found, and what is left in peace."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hooks.glob import Glob
from kuik.lint.overlap import intersect
from tests.kuik.plan.world import folder, inventory, kuik, namespace, pod, policy, rule


def lint(path: Path, *policies: dict[str, Any], words: tuple[Any, ...] = ()) -> dict[str, str]:
    done = kuik("policy", "lint", folder(path, all=list(policies)), "-o", "json", *words)
    found = {one["rule"]: one["finding"] for one in json.loads(done.stdout)}
    assert done.exit_code == (1 if found else 0), done.output
    return found


ALL, HUB = rule("all", "Ignore"), rule("hub", "Ignore", images=["docker.io/*"])


@pytest.mark.parametrize(
    ("rules", "found"),
    [
        ([ALL, rule("b", "Ignore", images=["x.example/*"])], {"b": "Shadowed"}),
        ([rule("b", "Ignore", images=["x.example/*"]), ALL], {}),
        ([HUB, rule("b", "Cache", images=["docker.io/library/nginx:1"])], {"b": "Shadowed"}),
        ([HUB, rule("b", "Cache", images=["docker.io/library/nginx:1"], retention="7d")], {}),
        ([rule("a", "Cache"), rule("b", "Cache", retention="7d")], {}),
        ([rule("a", "Cache"), rule("b", "Cache", referrers=True)], {}),
        ([rule("a", "Cache", retention="1d"), rule("b", "Cache", images=["x"], retention="7d")], {"b": "Shadowed"}),
        ([rule("a", "Ignore", namespaces=["a-*"]), rule("b", "Ignore", namespaces=["a-b", "a-c"])], {"b": "Shadowed"}),
        ([rule("a", "Ignore", namespaces=["a-*"]), rule("b", "Ignore", namespaces=["a-b", "b"])], {}),
        ([rule("a", "Ignore", ownerKinds=["Job"]), rule("b", "Ignore")], {}),
        ([rule("a", "Ignore", podSelector={"matchLabels": {"x": "y"}}), rule("b", "Ignore")], {}),
    ],
)
def test_rules_that_are_shadowed(tmp_path: Path, rules: list[dict[str, Any]], found: dict[str, str]) -> None:
    told = lint(tmp_path, policy("p", *rules))
    assert told == {f"ClusterCachePolicy/p/{name}": what for name, what in found.items()}


def test_rules_against_enforced_ones(tmp_path: Path) -> None:
    enforced = policy("security", rule("no-latest", "Ignore", images=["*:latest"], enforced=True))
    own = policy(
        "team", rule("mine", "Cache", images=["reg.example/*"]), rule("tagged", "Cache", images=["*:1"]), ns="shop"
    )
    first = policy("a-first", rule("but-ours", "Cache", images=["ours.example/*"], enforced=True))
    assert lint(tmp_path, enforced, own, first) == {
        "CachePolicy/shop/team/mine": "Overruled",
        "ClusterCachePolicy/a-first/but-ours": "Loosens",
    }
    everything = policy("a", rule("all", "Ignore", enforced=True))
    assert lint(tmp_path / "all", everything, own)["CachePolicy/shop/team/mine"] == "Shadowed"


def test_rules_that_match_nothing_there(tmp_path: Path) -> None:
    seen = inventory(tmp_path, namespace("shop"), pod("shop", "x", "nginx:1"))
    given_ = policy("p", rule("used", "Cache", images=["**/nginx:*"]), rule("not", "Ignore", images=["**/redis:*"]))
    own = policy("own", rule("r", "Cache"), ns="other")
    assert lint(tmp_path / "p", given_, own, words=("--inventory", seen)) == {
        "ClusterCachePolicy/p/not": "NeverMatches",
        "CachePolicy/other/own/r": "NeverMatches",
    }


def test_our_own_policies_are_well() -> None:
    done = kuik("policy", "lint", Path(__file__).parents[3] / "policies")
    assert (done.exit_code, done.output) == (0, "")


@settings(max_examples=150)
@given(st.text("ab*?", max_size=5), st.text("ab*?", max_size=5), st.text("ab", max_size=6))
def test_patterns_that_share_a_name_intersect(one: str, other: str, name: str) -> None:
    if Glob(one).matches(name) and Glob(other).matches(name):
        assert intersect(one, other)
    if not {"*", "?"} & set(other):
        assert intersect(one, other) is Glob(one).matches(other)
