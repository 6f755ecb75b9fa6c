"""`kuik policy lint`: what is found, and what is left in peace."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hooks.glob import Glob
from kuik.lint.names import impossible
from kuik.lint.overlap import intersect
from registry.reference import Reference
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
        (
            [rule("a", "Cache", retention="1d"), rule("b", "Cache", images=["x.example/*"], retention="7d")],
            {"b": "Shadowed"},
        ),
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
    assert (done.exit_code, done.stdout) == (0, "")
    assert "nothing found in 10 policies" in done.stderr


@pytest.mark.parametrize("path", ["docs", "README.md", "tests/kuik/lint"])
def test_where_there_is_no_policy_nothing_is_well(path: str) -> None:
    """A folder's name with a slip of the pen must not pass for years."""
    done = kuik("policy", "lint", Path(__file__).parents[3] / path)
    assert done.exit_code == 1
    assert f"{path} holds no policy" in done.stderr


@pytest.mark.parametrize(
    ("pattern", "write"),
    [
        ("nginx", "docker.io/library/nginx:latest, or docker.io/library/nginx:*"),
        ("nginx:*", "docker.io/library/nginx:*"),
        ("nginx:1.27", "docker.io/library/nginx:1.27"),
        ("docker.io/nginx:*", "docker.io/library/nginx:*"),
        ("docker.io/library/nginx", "docker.io/library/nginx:*"),
        ("library/*", "docker.io/library/*"),
        ("team/app:*", "docker.io/team/app:*"),
        ("index.docker.io/team/*", "docker.io/team/*"),
        ("GHCR.io/team/*", "ghcr.io/team/*"),
        ("ghcr.io", "ghcr.io/*"),
        ("ghcr.io/Team/*", "lower case"),
        ("ghcr.io/team//app:1", "not a valid path component"),
    ],
)
def test_names_that_no_image_has(tmp_path: Path, pattern: str, write: str) -> None:
    images = [pattern, "fits.example/*"]
    done = kuik("policy", "lint", folder(tmp_path, all=[policy("p", rule("r", "Cache", images=images))]), "-o", "json")
    (found,) = json.loads(done.stdout)
    assert (done.exit_code, found["rule"], found["finding"]) == (1, "ClusterCachePolicy/p/r", "NeverMatches")
    assert found["message"].startswith(f"{pattern} stands for no image: ")
    assert write in found["message"]


def test_a_rule_that_never_matches_is_told_of_once(tmp_path: Path) -> None:
    seen = inventory(tmp_path, namespace("shop"), pod("shop", "x", "nginx:1"))
    rules = folder(tmp_path / "p", all=[policy("p", rule("r", "Cache", images=["nginx:*"]))])
    assert len(json.loads(kuik("policy", "lint", rules, "--inventory", seen, "-o", "json").stdout)) == 1


HOSTS = st.sampled_from(["docker.io", "ghcr.io", "localhost", "reg.example:5000"])
NAMES = st.sampled_from(["library/nginx", "team/app", "a/b-c/d_e", "nginxinc/x"])
ENDS = st.sampled_from([":1.27", ":latest", ":RC-1", "@sha256:" + "a" * 64])


@settings(max_examples=300)
@given(HOSTS, NAMES, ENDS, st.lists(st.tuples(st.integers(0, 40), st.integers(0, 12)), max_size=3), st.booleans())
def test_no_pattern_that_fits_an_image_is_said_to_fit_none(
    host: str, name: str, end: str, holes: list[tuple[int, int]], one: bool
) -> None:
    image = pattern = str(Reference.parse(f"{host}/{name}{end}").identity)
    for at, length in holes:
        pattern = pattern[:at] + ("?" * len(pattern[at : at + length]) if one else "*") + pattern[at + length :]
    assert Glob(pattern).matches(image)
    assert impossible(pattern) == ""


def test_two_policies_of_one_name_are_refused(tmp_path: Path) -> None:
    same, other = policy("p", rule("a", "Ignore")), policy("p", rule("a", "Cache"))
    assert kuik("policy", "lint", folder(tmp_path / "same", one=[same], two=[same])).exit_code == 0
    twice = folder(tmp_path / "twice", one=[same], two=[other])
    done = kuik("policy", "lint", twice)
    assert done.exit_code == 1
    assert "ClusterCachePolicy p is given twice" in done.stderr
    planned = kuik("policy", "plan", "--to", twice, "--inventory", inventory(tmp_path, namespace("shop")))
    assert (planned.exit_code, "is given twice" in planned.stderr) == (1, True)


@settings(max_examples=150)
@given(st.text("ab*?", max_size=5), st.text("ab*?", max_size=5), st.text("ab", max_size=6))
def test_patterns_that_share_a_name_intersect(one: str, other: str, name: str) -> None:
    if Glob(one).matches(name) and Glob(other).matches(name):
        assert intersect(one, other)
    if not {"*", "?"} & set(other):
        assert intersect(one, other) is Glob(one).matches(other)
