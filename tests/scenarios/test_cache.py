"""What the ImageCache keeps besides images, and what becomes of all when it goes, on every driver."""

import base64
from datetime import UTC, datetime

from hooks.certificate import BUNDLE, plan
from hooks.facts import Known, Unknown
from hooks.pull_roles import NAME as PULL_ROLE
from hooks.webhook import NAME as WEBHOOK
from kube.types import Object
from kuik.driver.related import selects
from tests.cluster.rig.workloads import daemon_set, deployment, image_cache, namespace, pod
from tests.scenarios.cluster import JOBS, Cluster
from tests.scenarios.test_images import DAY, HUB, cached

PROXIES = {"app.kubernetes.io/name": "kube-image-keeper", "app.kubernetes.io/component": "proxy"}
BUNDLES = [plan({}, datetime.now(UTC), ["kuik-admission.kuik-system.svc"])[BUNDLE].decode() for _ in range(2)]


def proxies(scene: Cluster, desired: int, ready: int) -> None:
    """The node proxies' DaemonSet, as far as its controller and kubelets have come."""
    found = daemon_set(JOBS, "kuik-proxy", "kuik:1", labels=PROXIES)
    scene.apply(found)
    counts = {"desiredNumberScheduled": desired, "currentNumberScheduled": desired, "numberMisscheduled": 0}
    scene.report(found, {**counts, "numberReady": ready})


def asked(scene: Cluster, **labels: str) -> set[str]:
    """The webhooks that the API server asks about a pod without labels, in a namespace that has these."""
    found = scene.find("MutatingWebhookConfiguration", WEBHOOK)
    named = {"kubernetes.io/metadata.name": "shop", **labels}
    return {
        one["name"]
        for one in (found or {}).get("webhooks", ())
        if selects(one["namespaceSelector"], named) and selects(one["objectSelector"], {})
    }


def test_the_webhook_configuration_follows_the_mode(scene: Cluster) -> None:
    scene.apply(image_cache())
    scene.settle()
    assert scene.condition("Rewriting") == ("False", "NoProxies")
    assert not asked(scene)
    proxies(scene, 3, 3)
    scene.settle()
    assert scene.condition("Rewriting") == ("False", "NoCertificate")
    assert scene.find("MutatingWebhookConfiguration", WEBHOOK) is None
    scene.hooks.world.authority = Known(BUNDLES[0])
    scene.advance(601)
    scene.settle()
    scene.advance(61)
    scene.settle()
    assert scene.condition("Rewriting") == ("True", "On")
    wanted = {"On": {"on.kuik.dev"}, "Audit": {"audit.kuik.dev"}, "OptIn": set(), "Off": set()}
    for mode in ("On", "Audit", "OptIn"):
        scene.apply(image_cache(mode=mode))
        scene.settle()
        assert asked(scene) == wanted[mode], mode
        for label, webhooks in wanted.items():  # a namespace may differ
            assert asked(scene, **{"kuik.dev/mode": label}) == webhooks, (mode, label)
    scene.apply(image_cache(mode="Off"))
    scene.settle()
    assert scene.condition("Rewriting") == ("False", "Off")
    assert scene.find("MutatingWebhookConfiguration", WEBHOOK) is None
    scene.apply(image_cache(mode="On", delivery="Mirror"))
    scene.settle()
    assert scene.condition("Rewriting") == ("False", "Mirror")
    assert scene.find("MutatingWebhookConfiguration", WEBHOOK) is None
    scene.apply(image_cache(mode="On", delivery="Webhook"))
    scene.settle()
    assert asked(scene) == {"on.kuik.dev"}
    scene.delete("DaemonSet", "kuik-proxy", JOBS)
    scene.settle()
    assert scene.find("MutatingWebhookConfiguration", WEBHOOK) is None, "without proxies nothing is rewritten"


def test_a_proxy_on_a_lost_node_stops_no_rewriting(scene: Cluster) -> None:
    scene.hooks.world.authority = Known(BUNDLES[0])
    ours = pod(JOBS, "kuik-proxy-1", "kuik:1", labels=PROXIES, nodeName="gone")
    scene.apply(image_cache(), ours)
    proxies(scene, 3, 3)
    scene.settle()
    scene.advance(61)
    scene.settle()
    assert scene.condition("Rewriting") == ("True", "On")
    began = {"phase": "Running", "startTime": "2026-01-01T00:00:00Z"}
    answers = [{"type": "ContainersReady", "status": "False"}, {"type": "Ready", "status": "False"}]
    scene.report(ours, {**began, "conditions": answers})
    proxies(scene, 3, 2)
    scene.settle()
    assert scene.condition("Rewriting") == ("False", "ProxiesUnfit"), "its kubelet says that it is not ready"
    lost = [{"type": "ContainersReady", "status": "True"}, {"type": "Ready", "status": "False"}]
    scene.report(ours, {**began, "conditions": lost})
    scene.advance(601)
    scene.settle()
    scene.advance(61)
    scene.settle()
    assert scene.condition("Rewriting") == ("True", "On"), "its kubelet says nothing any more"


def test_the_webhook_trusts_what_admission_serves(scene: Cluster) -> None:
    scene.hooks.world.authority = Known(BUNDLES[0])
    scene.apply(image_cache())
    proxies(scene, 3, 3)
    scene.settle()
    scene.hooks.world.authority = Known("".join(BUNDLES))
    scene.advance(601)
    scene.settle()
    (found,) = scene.every("MutatingWebhookConfiguration")
    bundles = {base64.b64decode(one["clientConfig"]["caBundle"]).decode() for one in found["webhooks"]}
    assert bundles == {"".join(BUNDLES)}


def secrets(scene: Cluster, name: str) -> set[str]:
    """The Secrets that the shield may read in a namespace."""
    role, binding = scene.find("Role", PULL_ROLE, name), scene.find("RoleBinding", PULL_ROLE, name)
    assert (role is None) is (binding is None)
    if role is None or binding is None:
        return set()
    (rule,) = role["rules"]
    assert (rule["resources"], rule["verbs"]) == (["secrets"], ["get"])
    (subject,) = binding["subjects"]
    assert (subject["namespace"], subject["name"]) == (JOBS, "kuik-shield")
    return set(rule["resourceNames"])


def test_the_shield_may_read_the_pull_secrets_in_use_alone(scene: Cluster) -> None:
    scene.apply(
        image_cache(),
        namespace("shop"),
        namespace("crew"),
        pod("shop", "both", f"{HUB}/a:1", imagePullSecrets=[{"name": "one"}, {"name": "two"}]),
        pod("shop", "first", f"{HUB}/b:1", imagePullSecrets=[{"name": "one"}]),
        pod("crew", "open", f"{HUB}/a:1"),
    )
    scene.settle()
    assert secrets(scene, "shop") == {"one", "two"}
    assert secrets(scene, "crew") == set()
    scene.delete("Pod", "both", "shop")
    scene.settle()
    assert secrets(scene, "shop") == {"one"}
    scene.delete("Pod", "first", "shop")
    scene.settle()
    assert secrets(scene, "shop") == set()


def test_who_waits_in_vain_at_a_proxy_gets_a_rescue_job(scene: Cluster) -> None:
    waiting = pod("shop", "stuck", f"localhost:7439/{HUB}/stuck:1")
    scene.apply(image_cache(), namespace("shop"), waiting)
    said = {"waiting": {"reason": "ImagePullBackOff", "message": "connection refused"}}
    kubelet: Object = {"name": "c0", "image": "x", "imageID": "", "ready": False, "restartCount": 0}
    began = {"phase": "Pending", "startTime": "2026-01-01T00:00:00Z"}
    scene.report(waiting, {**began, "containerStatuses": [{**kubelet, "state": said}]})
    scene.advance(31)
    scene.settle()
    (job,) = scene.rescues()
    spec = job["spec"]["template"]["spec"]
    assert spec["serviceAccountName"] == "kuik-rescue"
    assert spec["containers"][0]["args"][-2:] == ["--namespace", "shop"]
    scene.end(job)
    scene.settle()
    scene.advance(31)
    scene.settle()
    (second,) = [one for one in scene.rescues() if one["metadata"]["name"] != job["metadata"]["name"]]
    running = {"running": {"startedAt": "2026-01-01T00:01:00Z"}}
    scene.report(waiting, {**began, "phase": "Running", "containerStatuses": [{**kubelet, "state": running}]})
    scene.settle()
    assert second["metadata"]["name"] in [one["metadata"]["name"] for one in scene.rescues()], "it is let end"
    scene.end(second)
    scene.settle()
    assert not scene.rescues(), "nobody waits any more"


def peopled(scene: Cluster) -> None:
    """Some of everything that an ImageCache owns."""
    scene.hooks.world.authority = Known(BUNDLES[0])
    here, used = f"{HUB}/here:1", f"{HUB}/used:1"
    private = deployment("shop", "web", used, imagePullSecrets=[{"name": "one"}])
    scene.apply(image_cache(), namespace("shop"), private, deployment("shop", "app", here))
    proxies(scene, 3, 3)
    cached(scene, here, used)
    scene.advance(61)
    scene.settle()
    assert asked(scene)
    assert secrets(scene, "shop")


def test_what_cannot_be_found_out_takes_nothing_away(scene: Cluster) -> None:
    """The pods cannot be looked at when an image is due, and the certificate cannot be read."""
    peopled(scene)
    going = f"{HUB}/here:1"
    scene.delete("Deployment", "app", "shop")
    scene.settle()
    world = scene.hooks.world
    world.blind, world.authority = "the API server is slow", Unknown("the API server is slow")
    before = scene.dump().keys()
    scene.advance(31 * DAY)
    scene.settle()
    assert scene.condition("Ready") == ("False", "PodsUnknown")
    assert scene.dump().keys() == before
    assert asked(scene), "what the webhook trusted, it trusts still"
    assert secrets(scene, "shop")
    world.blind = ""
    scene.advance(601)
    scene.settle()
    assert scene.image(going) is None, "once they can be seen it goes"


def identities(scene: Cluster, *kinds: str) -> dict[str, str]:
    return {f"{kind}/{one['metadata']['name']}": one["metadata"]["uid"] for kind in kinds for one in scene.every(kind)}


def test_an_image_cache_deleted_alone_and_made_again_finds_everything(scene: Cluster) -> None:
    peopled(scene)
    kinds = ("CachedImage", "MutatingWebhookConfiguration")
    before, there = scene.dump(), identities(scene, *kinds)
    scene.delete("ImageCache", "default", orphan=True)
    assert not [one for one in scene.every("CachedImage") if one["metadata"].get("ownerReferences")]
    assert identities(scene, *kinds) == there
    scene.apply(image_cache())
    scene.settle()
    assert identities(scene, *kinds) == there
    assert not scene.every("Job"), "nothing is copied again"
    scene.advance(61)
    scene.settle()
    assert scene.dump() == before


def test_an_image_cache_deleted_with_all_and_made_again_makes_everything_again(scene: Cluster) -> None:
    peopled(scene)
    before = scene.dump()
    scene.delete("ImageCache", "default")
    for kind in ("CachedImage", "MutatingWebhookConfiguration"):
        assert not scene.every(kind)
    assert secrets(scene, "shop") == set()
    scene.apply(image_cache())
    cached(scene, f"{HUB}/here:1", f"{HUB}/used:1")
    scene.advance(61)
    scene.settle()
    assert scene.dump() == before
