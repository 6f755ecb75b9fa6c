"""`kuik policy why` and `kuik policy test`."""

import json
from pathlib import Path
from typing import Any

from kuik.local.documents import written
from tests.kuik.plan.world import deployment, folder, inventory, kuik, namespace, pod, policy, rule

ENFORCED = policy("security", rule("no-latest", "Ignore", images=["*:latest"], enforced=True))
OWN = policy("team", rule("mine", "Cache", images=["*"], retention="7d"), ns="shop")
OTHERS = policy(
    "base",
    rule("nginx", "Ignore", images=["**/nginx:*"]),
    rule("long", "Cache", retention="26w", platforms=["linux/amd64"]),
)


def whys(*words: object) -> list[dict[str, Any]]:
    done = kuik("policy", "why", *words, "-o", "json")
    assert done.exit_code == 0, done.output
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_the_rule_that_decides_and_those_it_beats(tmp_path: Path) -> None:
    web = deployment("shop", "web", "nginx", "nginx:1", "localhost:5000/own:1")
    seen = inventory(tmp_path, namespace("shop"), web, ENFORCED, OWN, OTHERS)
    latest, tagged, own = whys("web", "-n", "shop", "--inventory", seen)
    assert (latest["action"], latest["rule"]) == ("Ignore", "ClusterCachePolicy/security/no-latest")
    assert [one["rule"] for one in latest["beaten"]] == [
        "CachePolicy/team/mine",
        "ClusterCachePolicy/base/nginx",
        "ClusterCachePolicy/base/long",
        "Default",
    ]
    assert (tagged["action"], tagged["rule"]) == ("Cache", "CachePolicy/team/mine")
    assert tagged["terms"] == {
        "retention": "7d by CachePolicy/team/mine",
        "platforms": "linux/amd64 by ClusterCachePolicy/base/long",
    }
    assert (own["action"], own["rule"]) == ("Ignore", "LoopbackRegistry")
    told = kuik("policy", "why", "deployment/web", "-n", "shop", "--inventory", seen).output
    assert "  Ignore by ClusterCachePolicy/security/no-latest (enforced)\n" in told
    assert "  beaten: CachePolicy/team/mine, which says Cache\n" in told


def test_manifests_in_place_of_a_cluster(tmp_path: Path) -> None:
    out = pod("shop", "x", "redis:7", labels={"kuik.dev/cache": "false"})
    folder(tmp_path / "a", pods=[out, pod("shop", "y", "redis:7")])
    folder(tmp_path / "b", policies=[OWN])
    files = ("-f", tmp_path / "a", "-f", tmp_path / "b", "-n", "shop")
    assert [(one["rule"], one["action"]) for one in whys("x", *files)] == [("PodLabel", "Ignore")]
    assert [one["rule"] for one in whys("Pod/y", *files)] == ["CachePolicy/team/mine"]
    missing = kuik("policy", "why", "z", *files)
    assert (missing.exit_code, "there is no z" in missing.output) == (1, True)


def cases(path: Path, *listed: dict[str, Any]) -> Path:
    folder(path / "one", policy=OTHERS)
    (path / "one" / "cases.yaml").write_text(written([list(listed)]))
    return path


def test_cases_pass_and_fail_with_words(tmp_path: Path) -> None:
    image, case = "docker.io/library/nginx:1", {"reason": "it is so", "objects": [pod("a", "x", "nginx:1")]}
    done = kuik("policy", "test", cases(tmp_path / "a", {**case, "expect": {image: "Ignore"}}))
    assert (done.exit_code, "ok    one: it is so" in done.output) == (0, True)
    done = kuik(
        "policy", "test", cases(tmp_path / "b", {**case, "expect": {image: "Cache"}, "retention": {image: "1d"}})
    )
    assert done.exit_code == 1
    assert f"decision of {image}: expected Cache, found Ignore" in done.output
    assert f"retention of {image}: expected 1d, found none" in done.output


def test_cases_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    bad: tuple[tuple[dict[str, Any], str], ...] = (
        ({"objects": [], "expect": {}}, "case 1: reason is missing"),
        ({"reason": "r", "objects": {}, "expect": {}}, "case 1: objects is no list"),
        ({"reason": "r", "objects": [], "expect": {}, "expects": {}}, "unknown field expects"),
        ({"reason": "r", "objects": ["x"], "expect": {}}, "no Kubernetes object"),
    )
    for number, (case, said) in enumerate(bad):
        done = kuik("policy", "test", cases(tmp_path / str(number), case))
        assert (done.exit_code, said in done.output) == (1, True), done.output
    assert "there is no cases.yaml" in kuik("policy", "test", folder(tmp_path / "empty")).output
