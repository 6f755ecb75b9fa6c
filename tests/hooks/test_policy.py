"""Who decides about an image: a table of all pairs of strengths, matching, and how images are kept."""

from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hooks.messages import Unreadable
from hooks.policy import Policies
from hooks.terms import Refresh, Retention, Terms

IMAGE = "docker.io/library/nginx:1.27"
STRENGTHS = ("enforced", "pod", "own", "namespace", "cluster", "default")
RULES = {
    "enforced": "ClusterCachePolicy/strong/enforced",
    "pod": "PodLabel",
    "own": "CachePolicy/own/own",
    "namespace": "NamespaceLabel",
    "cluster": "ClusterCachePolicy/weak/cluster",
    "default": "Default",
}


def policy(kind: str, name: str, *rules: dict[str, Any], namespace: str = "") -> dict[str, Any]:
    meta = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": "kuik.dev/v1alpha1", "kind": kind, "metadata": meta, "spec": {"rules": list(rules)}}


def cluster(*rules: dict[str, Any], name: str = "all") -> dict[str, Any]:
    return policy("ClusterCachePolicy", name, *rules)


def own(*rules: dict[str, Any], name: str = "own") -> dict[str, Any]:
    return policy("CachePolicy", name, *rules, namespace="shop")


def rule(name: str, action: str = "Ignore", **others: Any) -> dict[str, Any]:
    return {"name": name, "action": action, **others}


def pod(**labels: str) -> dict[str, Any]:
    return {"metadata": {"name": "p", "labels": labels}, "spec": {}}


def namespace(**labels: str) -> dict[str, Any]:
    return {"metadata": {"name": "shop", "labels": labels}}


def said(actions: dict[str, str]) -> tuple[str, str]:
    """The decision where each of these strengths says its word."""
    label = {name: {"kuik.dev/cache": "true" if actions[name] == "Cache" else "false"} for name in actions}
    clusters = []
    if "enforced" in actions:
        clusters.append(cluster(rule("enforced", actions["enforced"], enforced=True), name="strong"))
    if "cluster" in actions:
        clusters.append(cluster(rule("cluster", actions["cluster"]), name="weak"))
    owns = [own(rule("own", actions["own"]))] if "own" in actions else []
    where = namespace(**label.get("namespace", {}))
    decision = Policies.read(clusters, owns).decide(where, pod(**label.get("pod", {})), "Deployment", IMAGE)
    return decision.action, decision.rule


@pytest.mark.parametrize("action", ["Cache", "Ignore"])
@pytest.mark.parametrize(("stronger", "weaker"), list(combinations(STRENGTHS, 2)))
def test_the_stronger_word_counts(stronger: str, weaker: str, action: str) -> None:
    other = "Ignore" if action == "Cache" else "Cache"
    both = {stronger: action, **({weaker: other} if weaker != "default" else {})}
    assert said(both) == (action, RULES[stronger])


def test_all_at_once_and_none() -> None:
    assert said(dict.fromkeys(STRENGTHS[:-1], "Ignore")) == ("Ignore", RULES["enforced"])
    assert said({}) == ("Cache", "Default")


def test_within_a_strength_policies_go_by_name_and_rules_in_order() -> None:
    found = [
        cluster(rule("z", "Cache"), rule("a", "Ignore"), name="first"),
        cluster(rule("a", "Ignore"), name="second"),
    ]
    for order in (found, found[::-1]):
        decision = Policies.read(order, []).decide(namespace(), pod(), "Pod", IMAGE)
        assert decision.rule == "ClusterCachePolicy/first/z"


@pytest.mark.parametrize(
    ("match", "fits"),
    [
        ({}, True),
        (None, True),
        ({"images": ["docker.io/library/*:*"]}, True),
        ({"images": ["ghcr.io/*", "*:1.27"]}, True),
        ({"images": ["ghcr.io/*"]}, False),
        ({"ownerKinds": ["CronJob", "Cluster"]}, True),
        ({"ownerKinds": ["Deployment"]}, False),
        ({"namespaces": ["s*"]}, True),
        ({"namespaces": ["shops", "hop"]}, False),
        ({"podSelector": {"matchLabels": {"app": "web"}}}, True),
        ({"podSelector": {"matchLabels": {"app": "web", "tier": "x"}}}, False),
        ({"podSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["a", "web"]}]}}, True),
        ({"podSelector": {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}}, False),
        ({"podSelector": {"matchExpressions": [{"key": "no", "operator": "NotIn", "values": ["web"]}]}}, True),
        ({"podSelector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}}, True),
        ({"podSelector": {"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}}, False),
        ({"podSelector": {"matchLabels": {"app": "web"}}, "images": ["ghcr.io/*"]}, False),
    ],
)
def test_all_that_a_match_names_must_fit(match: Any, fits: bool) -> None:
    policies = Policies.read([cluster(rule("r", match=match))], [])
    decision = policies.decide(namespace(), pod(app="web"), "Cluster", IMAGE)
    assert (decision.action == "Ignore") is fits


def test_a_cache_policy_is_about_its_own_namespace() -> None:
    policies = Policies.read([], [own(rule("r"))])
    elsewhere = {"metadata": {"name": "other"}}
    assert policies.decide(elsewhere, pod(), "Pod", IMAGE).rule == "Default"
    assert policies.decide(namespace(), pod(), "Pod", IMAGE).rule == "CachePolicy/own/r"


def test_a_namespaced_rule_cannot_enforce() -> None:
    policies = Policies.read([], [own(rule("r", enforced=True))])
    assert policies.decide(namespace(), pod(**{"kuik.dev/cache": "true"}), "Pod", IMAGE).rule == "PodLabel"


def test_each_setting_comes_from_the_strongest_rule_that_says_it() -> None:
    policies = Policies.read(
        [
            cluster(
                rule("strong", "Cache", enforced=True, refresh={"mode": "Sync"}),
                rule("never", "Ignore", match={"images": ["ghcr.io/*"]}),
                rule("weak", "Cache", retention="90d", refresh={"mode": "Ignore"}, platforms=[]),
            )
        ],
        [own(rule("none"), rule("keep", "Cache", retention="7d"))],
    )
    decision = policies.decide(namespace(), pod(), "Pod", IMAGE)
    assert decision.rule == "ClusterCachePolicy/all/strong"
    assert decision.terms == Terms(
        Retention("7d", "CachePolicy/own/keep"),
        Refresh("Sync", "1h", "ClusterCachePolicy/all/strong"),
        frozenset(),
    )


def test_what_is_left_alone_has_no_terms() -> None:
    policies = Policies.read([cluster(rule("a"), rule("b", "Cache", retention="1d"))], [])
    assert policies.decide(namespace(), pod(), "Pod", IMAGE).terms == Terms()


def test_images_ahead_of_need_give_way_to_enforced_rules_alone() -> None:
    rules = [rule("no", enforced=True, match={"images": ["evil.io/*"]}), rule("weak")]
    policies = Policies.read([cluster(*rules)], [own(rule("mine"))]).of(namespace(**{"kuik.dev/cache": "false"}))
    assert policies.ahead_of_need("own").decide(IMAGE).rule == "CachePolicy/own"
    assert policies.ahead_of_need("own").decide("evil.io/x:1").rule == "ClusterCachePolicy/all/no"


def test_pods_that_no_rule_tells_apart_share_the_answer() -> None:
    found = Policies.read([cluster(rule("r", match={"podSelector": {"matchLabels": {"app": "a"}}}))], []).of(
        namespace()
    )
    assert found.for_pod(pod(app="a", hash="1"), "Pod") is found.for_pod(pod(app="a", hash="2"), "Pod")
    assert found.for_pod(pod(app="a"), "Pod") is not found.for_pod(pod(app="b"), "Pod")


BAD: list[tuple[Any, str]] = [
    ("text", "spec"),
    ({"rules": {"a": 1}}, "spec.rules"),
    ({"rules": ["a"]}, "spec.rules"),
    ({"rules": [rule("a"), {"action": "Cache"}]}, r"spec.rules\[1\].name"),
    ({"rules": [{"name": "a", "action": "Keep"}]}, r"spec.rules\[0\].action"),
    ({"rules": [rule("a", enforced="yes")]}, r"rules\[0\].enforced"),
    ({"rules": [rule("a", match=["x"])]}, "match"),
    ({"rules": [rule("a", match={"names": ["x"]})]}, "match: names"),
    ({"rules": [rule("a", match={"images": "nginx"})]}, "match.images"),
    ({"rules": [rule("a", match={"images": [5]})]}, "match.images"),
    ({"rules": [rule("a", match={"ownerKinds": [None]})]}, "match.ownerKinds"),
    ({"rules": [rule("a", match={"podSelector": {"matchLabels": {"a": 1}}})]}, "matchLabels"),
    ({"rules": [rule("a", match={"podSelector": {"matchLabel": {}}})]}, "podSelector: matchLabel"),
    ({"rules": [rule("a", match={"podSelector": {"matchExpressions": ["x"]}})]}, "matchExpressions"),
    ({"rules": [rule("a", match={"podSelector": {"matchExpressions": [{"operator": "In"}]}})]}, "key"),
    ({"rules": [rule("a", match={"podSelector": {"matchExpressions": [{"key": "k", "operator": "Is"}]}})]}, "operator"),
    ({"rules": [rule("a", match={"podSelector": {"matchExpressions": [{"key": "k", "operator": "In"}]}})]}, "values"),
    ({"rules": [rule("a", "Cache", retention="long")]}, "retention"),
    ({"rules": [rule("a", "Cache", retention=30)]}, "retention"),
    ({"rules": [rule("a", "Cache", refresh={"mode": "Now"})]}, "refresh.mode"),
    ({"rules": [rule("a", "Cache", refresh={"mode": "Sync", "interval": "x"})]}, "refresh.interval"),
    ({"rules": [rule("a", "Cache", platforms="linux/amd64")]}, "platforms"),
]


@pytest.mark.parametrize(("spec", "field"), BAD)
def test_what_does_not_fit_the_schema_raises_with_its_field(spec: Any, field: str) -> None:
    for kind in ("ClusterCachePolicy", "CachePolicy"):
        bad = {**policy(kind, "bad", namespace="shop"), "spec": spec}
        with pytest.raises(Unreadable, match=f"{kind}/bad: .*{field}"):
            Policies.read(*(([bad], []) if kind == "ClusterCachePolicy" else ([], [bad])))


def test_null_is_as_good_as_nothing() -> None:
    spec = {
        "rules": [rule("a", match=None, retention=None, refresh=None, platforms=None, enforced=None)],
        "images": None,
    }
    policies = Policies.read([{**cluster(), "spec": spec}, {**cluster(name="x"), "spec": {"rules": None}}], [])
    assert policies.decide(namespace(), pod(), "Pod", IMAGE).rule == "ClusterCachePolicy/all/a"


RULE_NAMES = st.sampled_from(["r1", "r2"])
TERMS = st.builds(
    Terms,
    st.none() | st.builds(Retention, st.sampled_from(["7d", "1w", "30d", "1h"]), RULE_NAMES),
    st.none()
    | st.builds(Refresh, st.sampled_from(["Ignore", "Warn", "Sync"]), st.sampled_from(["1h", "60m", "5m"]), RULE_NAMES),
    st.none() | st.frozensets(st.sampled_from(["linux/amd64", "linux/arm64"])),
    st.none() | st.booleans(),
)


@given(TERMS, TERMS, TERMS)
def test_joining_terms_does_not_depend_on_order(one: Terms, other: Terms, third: Terms) -> None:
    assert one.joined(one) == one
    assert one.joined(Terms()) == one
    assert one.joined(other) == other.joined(one)
    assert one.joined(other).joined(third) == one.joined(other.joined(third))


def test_what_serves_all_users() -> None:
    one = Terms(Retention("30d", "a"), Refresh("Warn", "5m", "a"), frozenset({"linux/amd64"}))
    two = Terms(Retention("5w", "b"), Refresh("Sync", "1h", "b"), frozenset({"linux/arm64"}))
    joined = Terms(Retention("5w", "b"), Refresh("Sync", "1h", "b"), frozenset({"linux/amd64", "linux/arm64"}))
    assert one.joined(two) == joined
    assert joined.joined(Terms(platforms=frozenset())).platforms == frozenset()
