"""What each look at a cluster makes of what is seen there."""

import base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hooks.certificate import plan
from kube.types import Object, format_time
from kuik.doctor import admission, controllers, nodes, own_image, runtimes
from kuik.doctor.cluster import Cluster, Tries, Try, Unseen
from kuik.doctor.finding import Finding, Level

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
MADE: Object = {"metadata": {"name": "x", "creationTimestamp": format_time(NOW)}}
OWN = frozenset(f"{one}.kuik.dev" for one in ("imagecaches", "imageinventories", "cachedimages")) | {
    "clustercachepolicies.kuik.dev",
    "cachepolicies.kuik.dev",
    "imageprefetches.kuik.dev",
}
METACONTROLLER = frozenset(f"{one}.metacontroller.k8s.io" for one in ("compositecontrollers", "decoratorcontrollers"))


def cluster(tries: dict[str, Any] | None = None, **fields: Any) -> Cluster:
    """A cluster where all is well, but for what is said."""
    tried = Tries("shop", **{"usual": Try(MADE), "proxied": Try(MADE), "host": Try(MADE), **(tries or {})})
    usual: dict[str, Any] = {"kinds": OWN | METACONTROLLER, "image_cache": {"spec": {"mode": "On"}}}
    return Cluster(NOW, "kuik-system", tried, **{**usual, **fields})


def one(found: Iterator[Finding]) -> Finding:
    (only,) = found
    return only


def node(name: str, *taints: Object, runtime: str = "containerd://2.1.9", **labels: str) -> Object:
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": list(taints)},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "nodeInfo": {"containerRuntimeVersion": runtime},
        },
    }


def pod(name: str, where: str, *, ready: bool = True, **status: Any) -> Object:
    conditions = [{"type": kind, "status": str(ready)} for kind in ("Ready", "ContainersReady")]
    spec = {"nodeName": where, "containers": [{"name": "c", "image": "localhost:7439/docker.io/library/nginx:1"}]}
    return {"metadata": {"name": name}, "spec": spec, "status": {"conditions": conditions, **status}}


def own(name: str, where: str, reason: str = "", kind: str = "containerStatuses") -> Object:
    waiting: dict[str, Any] = (
        {"waiting": {"reason": reason, "message": 'failed to pull "kuik:1": not found'}} if reason else {}
    )
    status: dict[str, Any] = {kind: [{"name": "c", "image": "kuik:1", "state": waiting}]}
    made = pod(name, where, **status)
    meta = {"name": name, "namespace": "kuik-system", "labels": {"app.kubernetes.io/name": "kube-image-keeper"}}
    return {**made, "metadata": meta}


def test_own_pods_that_wait_for_their_image_are_told_in_kubelets_words() -> None:
    """Also those of the Job before an installation, when nothing else of kuik is there."""
    pods = [
        own("kuik-crds-x", "a", "ImagePullBackOff"),
        own("kuik-proxy-y", "b", "ErrImagePull", "initContainerStatuses"),
    ]
    pods += [own("kuik-hooks-z", "a"), own("kuik-shield-0", "a", "ContainerCreating")]
    other = {**pods[0], "metadata": {**pods[0]["metadata"], "namespace": "elsewhere"}}
    found = one(own_image.own_image(cluster(pods=[*pods, other])))
    assert found.level is Level.FAIL
    assert found.what == (
        "2 of kuik's 4 pods wait for their image kuik:1 (on a, b): "
        'ImagePullBackOff: failed to pull "kuik:1": not found'
    )
    assert "image.registry" in found.do
    assert one(own_image.own_image(cluster(pods=pods[2:]))).level is Level.OK
    assert list(own_image.own_image(cluster(pods=[]))) == []
    assert one(own_image.own_image(cluster(pods=Unseen("no")))).level is Level.UNKNOWN


def test_a_policy_engine_that_refuses_the_proxys_names_is_told_with_its_own_words() -> None:
    refused = Try(refusal="403: admission webhook denied the request: only registry.example")
    found = one(admission.names(cluster({"proxied": refused})))
    assert found.level is Level.FAIL
    assert "only registry.example" in found.what
    assert "localhost:7439/" in found.do


def test_a_namespace_that_refuses_everything_proves_nothing_about_names() -> None:
    found = one(admission.names(cluster({"proxied": Try(refusal="quota"), "usual": Try(refusal="quota")})))
    assert found.level is Level.UNKNOWN


def test_what_may_not_be_tried_is_no_fault() -> None:
    unseen = Unseen("403: you may not")
    found = [*admission.names(cluster({"proxied": unseen})), *admission.host_network(cluster({"host": unseen}))]
    assert {each.level for each in found} == {Level.UNKNOWN}


@pytest.mark.parametrize(
    ("answer", "called", "level"),
    [
        ({"kuik.dev/original-images": "{}"}, True, Level.OK),
        ({"kuik.dev/would-rewrite": "{}"}, True, Level.OK),
        ({}, True, Level.WARN),
        ({}, False, Level.FAIL),
        ({}, Unseen("no metrics"), Level.WARN),
    ],
)
def test_whether_admission_is_reached_is_told_by_its_answer(answer: Object, called: Any, level: Level) -> None:
    tried = Try({"metadata": {"annotations": answer}})
    assert one(admission.reached(cluster({"cached": tried, "called": called}, webhook={}))).level is level


@pytest.mark.parametrize(
    ("spec", "level"), [({"mode": "Off"}, Level.OK), ({"delivery": "Mirror"}, Level.OK), ({"mode": "On"}, Level.FAIL)]
)
def test_that_no_webhook_is_registered_is_right_where_nobody_wants_one(spec: Object, level: Level) -> None:
    assert one(admission.reached(cluster(image_cache={"spec": spec}))).level is level


@pytest.mark.parametrize(("days", "level"), [(0, Level.OK), (85, Level.WARN), (100, Level.FAIL), (-2, Level.FAIL)])
def test_a_certificate_is_judged_by_the_clock(days: int, level: Level) -> None:
    made = plan({}, NOW, ["kuik-admission.kuik-system.svc"])
    webhook = {"webhooks": [{"clientConfig": {"caBundle": base64.b64encode(made["ca.crt"]).decode()}}]}
    seen = cluster(webhook=webhook, certificate=made["tls.crt"].decode())
    later = Cluster(**{**{name: getattr(seen, name) for name in seen.__slots__}, "now": NOW + timedelta(days=days)})
    assert one(admission.certificates(later)).level is level


def test_a_bundle_of_somebody_else_is_found() -> None:
    made, other = (plan({}, NOW, [f"{name}.svc"]) for name in "ab")
    webhook = {"webhooks": [{"clientConfig": {"caBundle": base64.b64encode(b"no PEM").decode()}}]}
    assert (
        one(admission.certificates(cluster(webhook=webhook, certificate=made["tls.crt"].decode()))).level is Level.FAIL
    )
    assert made["ca.crt"] != other["ca.crt"]


def test_nodes_without_a_proxy_are_named_with_the_reason() -> None:
    taint = {"key": "gpu", "effect": "NoSchedule"}
    crash = {"containerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}}]}
    found = one(
        nodes.proxies(
            cluster(
                nodes=[node("a"), node("b", taint), node("c"), node("w", **{"kubernetes.io/os": "windows"})],
                proxies=[pod("proxy-a", "a"), pod("proxy-c", "c", ready=False, **crash)],
                daemon_sets=[{"spec": {"template": {"spec": {"tolerations": []}}}}],
            )
        )
    )
    assert found.level is Level.FAIL
    assert "2 of 3" in found.what
    assert "b: its taint gpu:NoSchedule is not tolerated" in found.what
    assert "c: proxy-c CrashLoopBackOff: back-off" in found.what


@pytest.mark.parametrize(
    "toleration",
    [{"operator": "Exists"}, {"key": "gpu", "operator": "Exists"}, {"key": "gpu", "value": "", "effect": "NoSchedule"}],
)
def test_a_taint_that_is_tolerated_is_not_the_reason(toleration: Object) -> None:
    found = one(
        nodes.proxies(
            cluster(
                nodes=[node("b", {"key": "gpu", "effect": "NoSchedule"})],
                daemon_sets=[{"spec": {"template": {"spec": {"tolerations": [toleration]}}}}],
            )
        )
    )
    assert "no pod was made for it" in found.what


def test_crio_has_to_be_told_unless_a_pod_proves_that_it_was() -> None:
    crio = node("c", runtime="cri-o://1.34.0")
    assert one(runtimes.runtimes(cluster(nodes=[crio]))).level is Level.WARN
    proof = pod("web", "c", phase="Running")
    assert one(runtimes.runtimes(cluster(nodes=[crio], pods=[proof]))).level is Level.OK


def test_a_runtime_that_asks_with_tls_is_found_by_what_kubelet_says() -> None:
    said = "failed to do request: Head https://localhost:7439/v2/: http: server gave HTTP response to HTTPS client"
    waits = {"containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull", "message": said}}}]}
    found = one(runtimes.runtimes(cluster(nodes=[node("a")], pods=[pod("web", "a", ready=False, **waits)])))
    assert (found.level, "a" in found.what) == (Level.FAIL, True)


def test_mirror_delivery_wants_containerd_with_a_config_path() -> None:
    cache = {"spec": {"delivery": "Mirror"}}
    waits = {"waiting": {"reason": "CrashLoopBackOff"}}
    failed = {"containerStatuses": [{"name": "mirror", "state": waits, "lastState": {"terminated": {"exitCode": 1}}}]}
    found = one(
        runtimes.runtimes(cluster(image_cache=cache, nodes=[node("a")], proxies=[pod("p", "a", ready=False, **failed)]))
    )
    assert (found.level, "config_path" in found.do) == (Level.FAIL, True)


def test_a_node_whose_clock_is_wrong_is_named() -> None:
    leases = [
        {"metadata": {"name": name}, "spec": {"renewTime": format_time(NOW + timedelta(seconds=late))}}
        for name, late in (("a", -5), ("b", 400), ("gone", -9000))
    ]
    found = one(nodes.clocks(cluster(nodes=[node("a"), node("b")], leases=leases)))
    assert found.level is Level.WARN
    assert "b (+400 s)" in found.what
    assert "gone" not in found.what


@pytest.mark.parametrize(
    ("image", "level"),
    [
        ("ghcr.io/metacontroller/metacontroller:v4.17.2", Level.OK),
        ("reg:5000/metacontroller-distroless:5.0.0", Level.OK),
        ("metacontroller:v4.11.9", Level.FAIL),
        ("ghcr.io/metacontroller/metacontroller:latest", Level.UNKNOWN),
    ],
)
def test_metacontrollers_version_is_told_by_its_image(image: str, level: Level) -> None:
    args = ["--client-go-qps=100", "--client-go-burst=200"]
    running = {"metadata": {"namespace": "m"}, "spec": {"containers": [{"image": image, "args": args}]}}
    assert one(controllers.metacontroller(cluster(pods=[running]))).level is level


def test_metacontroller_that_is_slow_or_not_allowed_or_away_is_found() -> None:
    running = {"metadata": {"namespace": "m"}, "spec": {"containers": [{"image": "metacontroller:4.18.0"}]}}
    found = list(controllers.metacontroller(cluster(pods=[running], rights={"create jobs": False, "list pods": True})))
    assert [each.level for each in found] == [Level.OK, Level.WARN, Level.FAIL]
    assert "may not create jobs" in found[-1].what
    assert one(controllers.metacontroller(cluster(kinds=OWN))).level is Level.FAIL


def test_before_an_install_nothing_is_said_of_what_cannot_be_there() -> None:
    new = cluster(kinds=METACONTROLLER, image_cache=None, nodes=[node("a")])
    assert [*nodes.proxies(new), *controllers.cache(new), *admission.reached(new)] == []
    assert one(controllers.kinds(new)).level is Level.UNKNOWN


def test_the_caches_own_bad_news_is_passed_on() -> None:
    said = {"type": "StoreFull", "status": "True", "reason": "Full", "message": "volume a has 1 GiB left"}
    found = one(controllers.cache(cluster(image_cache={"status": {"conditions": [said]}})))
    assert (found.level, "1 GiB left" in found.what) == (Level.WARN, True)


def test_a_kind_that_an_older_release_did_not_have_is_missed() -> None:
    found = one(controllers.kinds(cluster(kinds=OWN - {"imageprefetches.kuik.dev"})))
    assert (found.level, "imageprefetches.kuik.dev" in found.what) == (Level.FAIL, True)
