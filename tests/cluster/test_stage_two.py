"""What stage 2 keeps besides CachedImages, called by the real Metacontroller: turns, webhook, rights, rescue."""

import base64
import json

from hooks.own_secrets import CERTIFICATE, OwnSecrets
from kube.client import Api
from tests.cluster.rig.api import Object
from tests.cluster.rig.cluster import COPIED, JOBS, Cluster
from tests.cluster.rig.workloads import image_cache, namespace, pod

HUB = "docker.io/library"
WEBHOOKS = "MutatingWebhookConfiguration"
PROXY = {"app.kubernetes.io/name": "kube-image-keeper", "app.kubernetes.io/component": "proxy"}


def proxies(cluster: Cluster, desired: int, ready: int) -> None:
    """The node proxies' DaemonSet, with the status that kubelets would bring about."""
    labels = {"app": "proxy"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "proxy", "image": "x"}]}}
    meta = {"name": "kuik-proxy", "namespace": JOBS, "labels": PROXY}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    found: Object = {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": meta, "spec": spec}
    cluster.apply(found)
    status = {"desiredNumberScheduled": desired, "numberReady": ready, "currentNumberScheduled": desired}
    cluster.plane.api.patch(found, {"status": {**status, "numberMisscheduled": 0}}, "status")


def condition(cluster: Cluster, name: str) -> tuple[str, str]:
    status = (cluster.find("ImageCache", "default") or {}).get("status", {})
    found = [one for one in status.get("conditions", ()) if one["type"] == name]
    return (found[0]["status"], found[0]["reason"]) if found else ("", "")


def configuration(cluster: Cluster) -> Object | None:
    return cluster.find(WEBHOOKS, "kuik")


def selected(found: Object | None, webhook: str) -> tuple[str, list[str]]:
    """How a webhook tells its namespaces by their mode."""
    (one,) = [one for one in (found or {})["webhooks"] if one["name"] == webhook]
    (mode,) = [one for one in one["namespaceSelector"]["matchExpressions"] if one["key"] == "kuik.dev/mode"]
    return mode["operator"], sorted(mode["values"])


def test_the_webhook_configuration_follows_the_mode(cluster: Cluster) -> None:
    api = Api.from_kubeconfig(str(cluster.plane.kubeconfig()))
    OwnSecrets(api, JOBS).certificate([f"kuik-admission.{JOBS}.svc"])
    cluster.until(
        lambda: condition(cluster, "Rewriting") == ("False", "NoProxies"), "it says that there are no proxies"
    )
    assert configuration(cluster) is None
    proxies(cluster, 3, 3)
    cluster.until(lambda: configuration(cluster), "the webhook configuration is there")
    found = configuration(cluster)
    assert selected(found, "on.kuik.dev") == ("NotIn", ["Audit", "Off", "OptIn"])
    bundle = base64.b64decode((found or {})["webhooks"][0]["clientConfig"]["caBundle"])
    secret = api.get(f"api/v1/namespaces/{JOBS}/secrets/{CERTIFICATE}")
    assert bundle == base64.b64decode(secret["data"]["ca.crt"])
    cluster.settle()
    cluster.apply(image_cache(mode="Audit"))
    cluster.until(
        lambda: selected(configuration(cluster), "on.kuik.dev") == ("In", ["On"]), "the webhooks are told apart anew"
    )
    assert selected(configuration(cluster), "audit.kuik.dev") == ("NotIn", ["Off", "On", "OptIn"])
    cluster.settle()
    cluster.apply(image_cache(mode="Off"))
    cluster.until(lambda: configuration(cluster) is None, "it goes")
    cluster.apply(image_cache(delivery="Mirror", mode="On"))
    cluster.until(lambda: condition(cluster, "Rewriting") == ("False", "Mirror"), "containerd asks by itself")
    assert configuration(cluster) is None
    cluster.apply(image_cache(delivery="Webhook", mode="On"))
    cluster.until(lambda: configuration(cluster), "it comes back")
    cluster.delete("daemonset", "-n", JOBS, "kuik-proxy")
    cluster.until(lambda: configuration(cluster) is None, "without proxies nothing is rewritten")
    cluster.delete("secret", "-n", JOBS, CERTIFICATE)
    cluster.settle()


def test_the_shield_may_read_the_pull_secrets_in_use_alone(cluster: Cluster) -> None:
    cluster.apply(namespace("secretive"))
    cluster.apply(
        pod("secretive", "one", f"{HUB}/secretive:1", imagePullSecrets=[{"name": "first"}, {"name": "second"}])
    )

    def may(secret: str) -> bool:
        who = f"--as=system:serviceaccount:{JOBS}:kuik-shield"
        asked = cluster.plane.try_kubectl("auth", "can-i", "get", f"secrets/{secret}", "-n", "secretive", who)
        return asked.stdout.strip() == "yes"

    cluster.until(lambda: may("first") and may("second"), "both may be read")
    assert not may("third")
    cluster.settle()
    cluster.delete("pod", "-n", "secretive", "one", "--grace-period=0", "--force")
    cluster.until(lambda: not may("first"), "what nobody uses may not be read")
    cluster.delete("namespace", "secretive")
    cluster.settle()


def test_copies_take_turns(cluster: Cluster) -> None:
    images = [f"{HUB}/turn{number}:1" for number in range(4)]
    cluster.quiet()
    running = len([job for job in cluster.plane.api.list("Job") if not job.get("status", {}).get("succeeded")])
    cluster.apply(image_cache(copies={"concurrency": running + 1}))
    cluster.apply(namespace("turns"), pod("turns", "all", *images))

    def copying() -> list[str]:
        return [image for image in images if cluster.jobs(image)]

    for count in range(1, len(images) + 1):
        cluster.until(lambda: len(copying()) == 1, f"one copies, and no more ({count})")
        cluster.quiet()
        (image,) = copying()
        cluster.finish(image, COPIED)
        cluster.until(lambda i=image: cluster.phase(i) == "Cached", f"{image} is cached")  # type: ignore[misc]
    cluster.settle()
    cluster.apply(image_cache())
    cluster.delete("namespace", "turns")


def test_who_waits_in_vain_at_a_proxy_gets_a_rescue_job(cluster: Cluster) -> None:
    cluster.apply(namespace("stuck"))
    waiting = pod("stuck", "one", f"localhost:7439/{HUB}/stuck:1")
    cluster.apply(waiting)
    state = {"waiting": {"reason": "ImagePullBackOff", "message": "no route"}}
    container = {"name": "c0", "image": "x", "imageID": "", "ready": False, "restartCount": 0, "state": state}
    status = {"phase": "Pending", "startTime": "2026-01-01T00:00:00Z", "containerStatuses": [container]}
    cluster.plane.api.patch(waiting, {"status": status}, "status")

    def rescues() -> list[Object]:
        found = cluster.plane.api.list("Job", "app.kubernetes.io/component=rescue")
        return [job for job in found if "deletionTimestamp" not in job["metadata"]]

    cluster.until(rescues, "a rescue Job is made")
    (job,) = rescues()
    arguments = job["spec"]["template"]["spec"]["containers"][0]["args"]
    assert arguments[:1] + arguments[-2:] == ["kuik.rescue", "--namespace", "stuck"]
    assert json.loads(json.dumps(job["spec"]["template"]["spec"]))["serviceAccountName"] == "kuik-rescue"
    cluster.settle()
    cluster.delete("pod", "-n", "stuck", "one", "--grace-period=0", "--force")
    cluster.plane.kubectl("delete", "job", "-n", JOBS, job["metadata"]["name"])
    cluster.until(lambda: not rescues(), "it goes with those who waited")
    cluster.delete("namespace", "stuck")
