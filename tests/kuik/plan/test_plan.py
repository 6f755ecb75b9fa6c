"""`kuik policy plan`: what is told of a change, and by which exit code."""

import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.kuik.plan.world import (
    cached,
    deployment,
    folder,
    image_cache,
    inventory,
    kuik,
    namespace,
    pod,
    policy,
    rule,
)

REDIS, NGINX, OWN = "docker.io/library/redis:7", "docker.io/library/nginx:1", "reg.example/own:1"
NO_REDIS = policy("p", rule("no-redis", "Ignore", images=["**/redis:*"]))
LONG = policy("q", rule("long", "Cache", images=["**/nginx:*"], retention="26w"))


@pytest.fixture
def seen(tmp_path: Path) -> Path:
    return inventory(
        tmp_path,
        *(namespace(name) for name in ("default", "shop", "kube-system")),
        deployment("shop", "web", "nginx:1", "redis:7"),
        pod("default", "own", "reg.example/own:1", secrets=("s",)),
        pod("kube-system", "dns", "nginx:1"),
        cached(NGINX, 5000),
        cached(REDIS, 2000),
        cached(OWN, access={"visibility": "Private", "secrets": [{"namespace": "shop", "secret": "s"}]}),
    )


def plan(seen: Path, *words: object, code: int = 0) -> dict[str, Any]:
    done = kuik("policy", "plan", "--inventory", seen, "-o", "json", *words)
    assert done.exit_code == code, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def images(found: dict[str, Any]) -> dict[str, str]:
    return {one["image"]: one["action"] for one in found["images"]}


def test_an_image_that_is_left_alone_expires_and_its_containers_are_not_rewritten(seen: Path, tmp_path: Path) -> None:
    to = folder(tmp_path / "to", a=NO_REDIS, b=LONG)
    found = plan(seen, "--to", to, "--detailed-exitcode", code=2)
    assert found["policies"]["added"] == ["ClusterCachePolicy/p", "ClusterCachePolicy/q"]
    assert images(found) == {REDIS: "expire", NGINX: "terms"}
    expire = next(one for one in found["images"] if one["action"] == "expire")
    assert (expire["bytes"], expire["after"]["retention"]) == (2000, "30d")
    assert expire["after"]["rules"] == "ClusterCachePolicy/p/no-redis"
    (changed,) = found["workloads"]
    assert (changed["workload"], changed["container"], changed["image"]) == ("shop/Deployment/web", "c1", REDIS)
    assert (changed["before"]["rewritten"], changed["after"]["rewritten"]) == (True, False)
    assert found["unchanged"] == {"images": 1, "containers": 3}
    back = plan(seen, "--from", to, "--to", folder(tmp_path / "none"), "--detailed-exitcode", code=2)
    assert images(back) == {REDIS: "use", NGINX: "terms"}
    assert back["policies"]["removed"] == ["ClusterCachePolicy/p", "ClusterCachePolicy/q"]


def test_nothing_is_removed_that_a_pod_needs_though_it_is_left_alone(tmp_path: Path) -> None:
    old: dict[str, Any] = {
        "retention": "30d",
        "unusedSince": (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    left = pod("shop", "left", "nginx:1", labels={"kuik.dev/cache": "false"})
    cluster = inventory(tmp_path, namespace("shop"), left, cached(NGINX, **old), cached(REDIS, **old))
    to = folder(tmp_path / "to", a=image_cache(retention="1s"))
    assert images(plan(cluster, "--to", to)) == {NGINX: "terms", REDIS: "remove"}


def test_nothing_changes(seen: Path, tmp_path: Path) -> None:
    to = folder(tmp_path / "to", a=policy("p", rule("other", "Ignore", images=["nobody.example/*"])))
    found = plan(seen, "--to", to, "--detailed-exitcode")
    assert (found["changes"], found["images"], found["workloads"]) == (False, [], [])
    assert (
        "Nothing changes: 3 images and 4 containers stay"
        in kuik("policy", "plan", "--inventory", seen, "--to", to).output
    )


def test_policies_of_the_cluster_that_git_does_not_know_stay(tmp_path: Path) -> None:
    seen = inventory(tmp_path, namespace("default"), pod("default", "a", "redis:7", "nginx:1"), NO_REDIS)
    to = folder(tmp_path / "to", b=policy("q", rule("no-nginx", "Ignore", images=["**/nginx:*"])))
    assert images(plan(seen, "--to", to)) == {NGINX: "expire"}
    assert images(plan(seen, "--to", to, "--from", folder(tmp_path / "from", a=NO_REDIS))) == {
        NGINX: "expire",
        REDIS: "cache",
    }


def test_labels_of_namespaces_and_the_cache_itself_are_planned(seen: Path, tmp_path: Path) -> None:
    out = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"kuik.dev/cache": "false"}}}
    found = plan(seen, "--to", folder(tmp_path / "a", a=out))
    assert images(found) == {REDIS: "expire"}, "kube-system still uses the other"
    assert [one["after"]["rule"] for one in found["workloads"]] == ["NamespaceLabel"] * 2
    found = plan(seen, "--to", folder(tmp_path / "b", a=image_cache(mode="OptIn", retention="7d")))
    assert set(images(found).values()) == {"terms"}
    assert [one["after"]["rule"] for one in found["workloads"]] == ["OptIn"] * 2, "the private one was never rewritten"


def test_private_images_are_rewritten_with_a_proof_alone(seen: Path, tmp_path: Path) -> None:
    proven = {"visibility": "Private", "secrets": [{"namespace": "default", "secret": "s"}]}
    one = inventory(
        tmp_path, namespace("default"), pod("default", "a", OWN, secrets=("s",)), cached(OWN, access=proven)
    )
    to = folder(tmp_path / "to", a=policy("p", rule("own", "Ignore", images=["reg.example/*"])))
    (change,) = plan(one, "--to", to)["workloads"]
    assert change["before"] == {"rewritten": True}


def test_what_is_exported_holds_nothing_of_a_containers_environment(seen: Path) -> None:
    text = seen.read_text()
    assert "hush" not in text
    assert '"env"' not in text


def git(folder: Path, *words: str) -> None:
    who = ("-c", "user.name=t", "-c", "user.email=t@example.com")
    subprocess.run(["git", "-C", str(folder), *who, *words], check=True, capture_output=True)


def test_a_revision_of_git_is_a_beginning(seen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = tmp_path / "repository"
    policies = folder(repository / "policies", a=NO_REDIS)
    git(repository, "init", "-q", "-b", "main")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "one")
    folder(policies, a=LONG)
    monkeypatch.chdir(repository)
    found = plan(seen, "--from", "main", "--to", "policies")
    assert found["policies"] == {
        "added": ["ClusterCachePolicy/q"],
        "removed": ["ClusterCachePolicy/p"],
        "changed": [],
        "passedOver": [],
    }
    assert images(found) == {REDIS: "use", NGINX: "terms"}
    assert plan(seen, "--from", "HEAD:policies", "--to", "policies") == found
    for words in (("nowhere", "policies"), ("main:nowhere", "policies"), ("--upload-pack=x", "policies")):
        done = kuik("policy", "plan", "--inventory", seen, f"--from={words[0]}", "--to", words[1])
        assert done.exit_code == 1, done.output
        assert words[0] in done.output


def test_kustomizations_name_what_counts(seen: Path, tmp_path: Path) -> None:
    to = folder(tmp_path / "to", a=NO_REDIS, stray=LONG)
    folder(tmp_path / "base", b=policy("own", rule("r", "Ignore", images=["**/nginx:*"]), ns="x"))
    (tmp_path / "base" / "kustomization.yaml").write_text("kind: Kustomization\nnamespace: shop\nresources: [b.yaml]\n")
    (to / "kustomization.yaml").write_text("kind: Kustomization\nresources: [a.yaml, ../base]\n")
    found = plan(seen, "--to", to)
    assert found["policies"]["added"] == ["CachePolicy/shop/own", "ClusterCachePolicy/p"]
    (to / "kustomization.yaml").write_text("kind: Kustomization\nresources: [a.yaml]\nnamePrefix: x-\n")
    done = kuik("policy", "plan", "--inventory", seen, "--to", to)
    assert (done.exit_code, "namePrefix: build it first" in done.output) == (1, True)
    (to / "kustomization.yaml").write_text("kind: Kustomization\nresources: [.]\n")
    assert "without end" in kuik("policy", "plan", "--inventory", seen, "--to", to).output


def test_signatures_are_a_term_too(seen: Path, tmp_path: Path) -> None:
    signed = policy("p", rule("signed", "Cache", images=["**/nginx:*"], referrers=True))
    to = folder(tmp_path / "to", a=signed)
    assert images(plan(seen, "--to", to)) == {NGINX: "terms"}
    assert "referrers not kept -> kept" in kuik("policy", "plan", "--inventory", seen, "--to", to).output
    why = kuik("policy", "why", "dns", "-n", "kube-system", "-f", to, "-f", _pod(tmp_path)).output
    assert "referrers kept by ClusterCachePolicy/p/signed" in why


def _pod(folder_: Path) -> Path:
    return folder(folder_ / "pods", dns=pod("kube-system", "dns", "nginx:1"))


def test_markdown_is_fit_for_a_comment(seen: Path, tmp_path: Path) -> None:
    done = kuik("policy", "plan", "--inventory", seen, "--to", folder(tmp_path / "to", a=NO_REDIS), "-o", "markdown")
    assert "### What this change of policies does" in done.output
    assert f"| expire | `{REDIS}` | expires after 30d 2.0 kB (ClusterCachePolicy/p/no-redis) |" in done.output
    many = inventory(tmp_path, namespace("default"), *(pod("default", f"p{n}", f"redis:{n}") for n in range(900)))
    done = kuik("policy", "plan", "--inventory", many, "--to", tmp_path / "to", "-o", "markdown")
    assert len(done.output) < 65_536
    assert "and 700 more" in done.output


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--to", "missing"), 1),
        (("--to", "missing", "--detailed-exitcode"), 1),
        (("--too", "x"), 2),
        (("--too", "x", "--detailed-exitcode"), 1),
        (("--detailed-exitcode",), 1),
        (("--to", ".", "--cluster"), 2),
        (("--to", ".", "--cluster", "--detailed-exitcode"), 1),
    ],
)
def test_no_error_looks_like_a_change(seen: Path, words: tuple[str, ...], code: int) -> None:
    assert kuik("policy", "plan", "--inventory", seen, *words).exit_code == code


def test_bad_policies_are_named_by_their_field(seen: Path, tmp_path: Path) -> None:
    done = kuik(
        "policy", "plan", "--inventory", seen, "--to", folder(tmp_path / "to", a=policy("p", rule("r", "Burn")))
    )
    assert done.exit_code == 1
    assert "a.yaml: document 1: ClusterCachePolicy p: spec.rules.0.action" in done.output
    other = tmp_path / "other.json"
    other.write_text('{"kind": "List"}')
    assert (
        "is not what `kuik policy inventory` writes"
        in kuik("policy", "plan", "--inventory", other, "--to", seen).output
    )
