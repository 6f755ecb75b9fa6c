"""Stage 1 over generated namespaces: a set, whatever order and number its pods have."""

from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hooks.facts import Context, Settings
from hooks.messages import answer
from hooks.stages import STAGES
from kube.schema import validate
from tests.hooks import golden
from tests.hooks.world import NOW, namespace, pods

CONTEXT = Context(NOW, Settings(plain_http=frozenset({"127.0.0.1:5001"})))
STAGE = STAGES["inventory"]


def inventory(related: list[Any], parent: Any = None) -> dict[str, Any]:
    asked = golden.request(STAGE, parent or namespace("shop"), [], related)
    found: dict[str, Any] = answer(STAGE, asked, CONTEXT)["attachments"][0]
    return found


def named(found: list[Any]) -> list[Any]:
    """Pods with names of their own, as an API server has them."""
    return list({pod["metadata"]["name"]: pod for pod in found}.values())


@given(st.lists(pods(), max_size=6).map(named), st.randoms(use_true_random=False))
def test_order_does_not_matter(found: list[Any], random: Any) -> None:
    shuffled = list(found)
    random.shuffle(shuffled)
    assert orjson.dumps(inventory(found)) == orjson.dumps(inventory(shuffled))


@given(st.lists(pods(), max_size=6).map(named))
def test_what_it_says_is_valid(found: list[Any]) -> None:
    assert [str(error) for error in validate(inventory(found))] == []


@given(st.lists(pods(), min_size=1, max_size=4).map(named), st.integers(1, 3))
def test_more_pods_of_the_same_controller_change_nothing(found: list[Any], copies: int) -> None:
    owned = [pod for pod in found if "ownerReferences" in pod["metadata"]]
    again = [
        {**pod, "metadata": {**pod["metadata"], "name": f"{pod['metadata']['name']}-{n}"}}
        for pod in owned
        for n in range(copies)
    ]
    assert inventory(found) == inventory(found + again)


@given(st.lists(pods(), max_size=5).map(named), pods())
def test_one_more_pod_takes_no_image_away_from_the_cache(found: list[Any], more: Any) -> None:
    before = {entry["image"] for entry in inventory(found)["spec"]["images"] if entry["decision"] == "Cache"}
    after = {
        entry["image"] for entry in inventory(named([*found, more]))["spec"]["images"] if entry["decision"] == "Cache"
    }
    replaced = more["metadata"]["name"] in {pod["metadata"]["name"] for pod in found}
    assert replaced or before <= after


def test_at_most_twenty_users_are_named_and_all_are_counted() -> None:
    found = [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"p{n:02}", "namespace": "shop"}, "spec": spec}
        for n, spec in enumerate([{"containers": [{"name": "c", "image": "nginx"}]}] * 25)
    ]
    (entry,) = inventory(found)["spec"]["images"]
    assert (entry["usedBy"], entry["users"]) == ([f"Pod/p{n:02}" for n in range(20)], 25)


def test_texts_of_any_length_in_a_pod_still_make_a_valid_inventory() -> None:
    long = "x" * 5000
    spec = {
        "imagePullSecrets": [{"name": long}, {"name": ""}, {}],
        "containers": [
            {"name": "a", "image": long},
            {"name": "b", "image": f"{long}.localhost/app:1"},
            {"name": "c", "image": f"{long}.com/app:1", "imagePullPolicy": "Never"},
            {"name": "d", "image": f"{long}.com/app:1"},
        ],
    }
    owner = [{"kind": long, "name": long, "controller": True, "uid": "u"}]
    meta = {"name": "p", "namespace": "shop", "ownerReferences": owner}
    found = inventory([{"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}])
    assert [str(error) for error in validate(found)] == []
    assert {entry["decision"] for entry in found["spec"]["images"]} == {"Ignore"}


RULES: tuple[dict[str, Any], ...] = (
    {"name": "jobs", "action": "Ignore", "match": {"ownerKinds": ["CronJob"]}},
    {"name": "nginx", "action": "Cache", "match": {"images": ["*/nginx:*"]}, "retention": "7d"},
    {"name": "wide", "action": "Cache", "platforms": [], "refresh": {"mode": "Sync", "interval": "1h"}},
    {"name": "tools", "action": "Ignore", "match": {"images": ["ghcr.io/*"]}, "enforced": True},
)


@st.composite
def policies(draw: st.DrawFn) -> list[Any]:
    """Policies of both kinds, each with a name of its own."""
    found = []
    for name in draw(st.lists(st.sampled_from("abc"), unique=True)):
        kind, where = draw(st.sampled_from([("CachePolicy", {"namespace": "shop"}), ("ClusterCachePolicy", {})]))
        rules = draw(st.lists(st.sampled_from(RULES), unique_by=lambda rule: str(rule["name"])))
        meta = {"name": name, **where}
        found.append({"apiVersion": "kuik.dev/v1alpha1", "kind": kind, "metadata": meta, "spec": {"rules": rules}})
    return found


@given(st.lists(pods(), max_size=5).map(named), policies(), st.randoms(use_true_random=False))
def test_order_of_pods_and_policies_does_not_matter(found: list[Any], ruling: list[Any], random: Any) -> None:
    shuffled = [*found, *ruling]
    random.shuffle(shuffled)
    said = inventory([*found, *ruling])
    assert orjson.dumps(said) == orjson.dumps(inventory(shuffled))
    assert [str(error) for error in validate(said)] == []


@given(
    st.sampled_from(["metadata", "spec", "status"]),
    st.sampled_from(["labels", "annotations", "containers", "volumes", "containerStatuses", "startTime", "phase"]),
    st.sampled_from([None, 5, "text", [], [None], ["x"], [{}], {}, {"kuik.dev/cache": []}, [{"name": [], "state": 1}]]),
)
def test_no_malformed_pod_ends_it(part: str, field: str, odd: Any) -> None:
    pod: dict[str, Any] = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "shop"}}
    pod["spec"] = {"containers": [{"name": "c", "image": "nginx"}]}
    pod["status"] = {"containerStatuses": [{"name": "c", "state": {"waiting": {"reason": "ErrImagePull"}}}]}
    pod[part] = {**pod[part], field: odd}
    other = {**pod, "metadata": {"name": "q", "namespace": "shop"}, "spec": {"containers": [{"image": "redis"}]}}
    assert "docker.io/library/redis:latest" in {entry["image"] for entry in inventory([pod, other])["spec"]["images"]}


ODD: list[tuple[str, dict[str, Any], str]] = [
    ("Pod", {}, "spec is no object"),
    ("Pod", {"spec": None}, "spec is no object"),
    ("Pod", {"spec": {}}, "spec.containers is no list"),
    ("Pod", {"spec": {"containers": {}}}, "spec.containers is no list"),
    ("Pod", {"spec": {"containers": ["nginx"]}}, "spec.containers[0] is no object"),
    ("Pod", {"spec": {"containers": [{}, {"image": 5}]}}, "spec.containers[1].image is no text"),
    ("Pod", {"spec": {"containers": [], "initContainers": "x"}}, "spec.initContainers is no list"),
    ("Pod", {"spec": {"containers": [], "volumes": [{"image": "x"}]}}, "spec.volumes[0].image is no object"),
    (
        "Pod",
        {"spec": {"containers": [], "volumes": [{"image": {"reference": []}}]}},
        "spec.volumes[0].image.reference is no text",
    ),
    ("Deployment", {}, "spec is no object"),
    ("Deployment", {"spec": {"template": "x"}}, "spec.template is no object"),
    ("CronJob", {"spec": {"jobTemplate": []}}, "spec.jobTemplate is no object"),
    (
        "CronJob",
        {"spec": {"jobTemplate": {"spec": {"template": {"spec": {"containers": [{"image": []}]}}}}}},
        "spec.jobTemplate.spec.template.spec.containers[0].image is no text",
    ),
]


@pytest.mark.parametrize(("kind", "odd", "why"), ODD)
def test_what_cannot_be_read_is_named_and_the_rest_counts(kind: str, odd: dict[str, Any], why: str) -> None:
    version = {"Pod": "v1", "Deployment": "apps/v1", "CronJob": "batch/v1"}[kind]
    workload = {"apiVersion": version, "kind": kind, "metadata": {"name": "odd", "namespace": "shop"}, **odd}
    said = inventory([workload, pod_of("fine", "nginx")])
    assert said["spec"]["unreadable"] == [f"{kind}/odd: {why}"]
    assert [entry["image"] for entry in said["spec"]["images"]] == ["docker.io/library/nginx:latest"]
    assert [str(error) for error in validate(said)] == []


@pytest.mark.parametrize("spec", [{}, {"template": {}}, {"template": {"spec": {"containers": [{"name": "c"}]}}}])
def test_what_the_api_lets_be_absent_is_not_used_and_no_trouble(spec: dict[str, Any]) -> None:
    meta = {"name": "web", "namespace": "shop"}
    said = inventory([{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec}])
    assert said["spec"] == {"namespace": "shop", "images": []}


def test_a_pod_that_has_ended_troubles_nobody() -> None:
    ended = {**pod_of("ended", "nginx"), "spec": {"containers": 5}, "status": {"phase": "Succeeded"}}
    assert inventory([ended])["spec"] == {"namespace": "shop", "images": []}


def pod_of(name: str, image: str) -> dict[str, Any]:
    meta = {"name": name, "namespace": "shop"}
    spec = {"containers": [{"name": "c", "image": image}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


@pytest.mark.parametrize("label", ["kubernetes.io/os", "beta.kubernetes.io/os"])
def test_a_pod_that_demands_windows_nodes_in_any_way_is_left_alone_as_admission_leaves_it(label: str) -> None:
    """A copy of its image would only fail where the platforms to copy are Linux'."""
    demand = {"nodeSelectorTerms": [{"matchExpressions": [{"key": label, "operator": "In", "values": ["windows"]}]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": demand}}
    for placed in ({"affinity": affinity}, {"nodeSelector": {label: "windows"}}):
        pod = pod_of("logs", "mcr.example/windows/servercore:1")
        (entry,) = inventory([{**pod, "spec": {**pod["spec"], **placed}}])["spec"]["images"]
        assert (entry["decision"], entry["rule"]) == ("Ignore", "Windows")


def hooks_deployment() -> dict[str, Any]:
    """As the manifests have it."""
    documents = yaml.safe_load_all((Path(__file__).parents[2] / "metacontroller" / "hooks.yaml").read_text())
    found: dict[str, Any] = next(one for one in documents if one["kind"] == "Deployment")
    return found


def test_the_hooks_own_deployment_wakes_every_namespace_and_counts_in_its_own_alone() -> None:
    deployment = hooks_deployment()
    rules = [rule.message() for rule in STAGE.customize(namespace("shop"))]
    (wakes,) = (rule for rule in rules if "labelSelector" in rule)
    assert (wakes["resource"], "namespace" in wakes) == ("deployments", False)
    assert wakes["labelSelector"]["matchLabels"].items() <= deployment["metadata"]["labels"].items()
    assert deployment["spec"]["minReadySeconds"] > 0, "it is available once nodes lead to it"
    assert inventory([deployment]) == inventory([])
    (found,) = inventory([deployment], namespace("kuik-system"))["spec"]["images"]
    assert found["usedBy"] == ["Deployment/kuik-hooks"]
