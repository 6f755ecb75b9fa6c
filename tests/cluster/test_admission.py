"""Admission as a real API server calls it: our process over HTTPS, with the rights of its service account."""

import base64
import http.server
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from hooks import webhook
from hooks.containers import ORIGINALS
from hooks.facts import Settings
from registry.capability import capability
from registry.reference import Reference
from tests.cluster.rig.api import Object
from tests.cluster.rig.control_plane import ControlPlane
from tests.cluster.rig.workloads import deployment, namespace, pod, service_account
from tests.cluster.test_rights import account
from tests.rig.components import ROOT, TOKEN
from tests.rig.processes import free_port, listening, stop, wait_until

SYSTEM = "kuik-system"
NGINX = "localhost:7439/docker.io/library/nginx:1"
PRIVATE = "reg.example.com/team/app"
WEBHOOK = "kuik-test"
_CALLS = re.compile(r"^apiserver_admission_webhook_request_total\{(.*)\} (\d+)", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


class _Shield(http.server.BaseHTTPRequestHandler):
    """A double of the shield's facts: whatever is on Docker Hub is public."""

    def do_GET(self) -> None:
        image = parse_qs(urlsplit(self.path).query)["image"][0]
        access = "public" if image.startswith("docker.io/") else "private" if "private" in image else "unknown"
        raw = json.dumps({"access": access}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_arguments: object) -> None:
        """Keep quiet."""


@dataclass
class Admission:
    """The process, and the API server that calls it."""

    plane: ControlPlane
    port: int
    environment: dict[str, str]
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        path = account(self.plane, "kuik-hooks")
        command = [sys.executable, "-m", "hooks.admission_server", "--listen", f"127.0.0.1:{self.port}"]
        command += ["--kubeconfig", str(path), "--name", "127.0.0.1"]
        with (self.plane.folder / "admission.log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=log, stderr=log)
        wait_until(lambda: listening(self.port), "admission listens")

    def kill(self) -> None:
        assert self.process
        stop(self.process)
        wait_until(lambda: not listening(self.port), "admission is gone")

    def create(self, obj: Object, *options: str) -> Object:
        said = self.plane.kubectl("create", "-f", "-", "-o", "json", *options, stdin=json.dumps(obj))
        created: Object = json.loads(said)
        return created

    def image(self, obj: Object) -> str:
        return str(self.create(obj)["spec"]["containers"][0]["image"])


def configuration(port: int, bundle: str) -> Object:
    """What stage 2 makes of mode On, calling our process on loopback instead of a Service."""
    made = json.loads(json.dumps(webhook.configuration(webhook.ON, bundle, Settings())))
    for one in made["webhooks"]:
        path = one["clientConfig"].pop("service")["path"]
        one["clientConfig"]["url"] = f"https://127.0.0.1:{port}{path}"
    return {**made, "metadata": {**made["metadata"], "name": WEBHOOK}}


def daemon_set() -> Object:
    labels = {"app.kubernetes.io/name": "kube-image-keeper", "app.kubernetes.io/component": "proxy"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "proxy", "image": "x"}]}}
    meta = {"name": "kuik-proxy", "namespace": SYSTEM, "labels": labels}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": meta, "spec": spec}


def proxies(plane: ControlPlane, ready: int, desired: int = 10) -> None:
    """What the DaemonSet controller would say of the proxies; the rig runs without it."""
    counts = {"currentNumberScheduled": desired, "desiredNumberScheduled": desired, "numberMisscheduled": 0}
    plane.api.patch(daemon_set(), {"status": {**counts, "numberReady": ready}}, "status")


@pytest.fixture(scope="module")
def admission(installed: ControlPlane) -> Iterator[Admission]:
    shield = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Shield)
    threading.Thread(target=shield.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{shield.server_address[1]}"
    environment = os.environ | {"KUIK_SHIELD_URL": url, "KUIK_NAMESPACE": SYSTEM, "KUIK_TOKEN": TOKEN}
    installed.kubectl("apply", "-f", "-", stdin=json.dumps(daemon_set()))
    proxies(installed, ready=10)
    for name, labels in {
        "shop": {},
        "audited": {"kuik.dev/mode": "Audit"},
        "choosing": {"kuik.dev/mode": "OptIn"},
        "out": {"kuik.dev/cache": "false"},
        "off": {"kuik.dev/mode": "Off"},
    }.items():
        installed.kubectl("apply", "-f", "-", stdin=json.dumps(namespace(name, **labels)))
        _has_account(installed, name)
    before_kuik(installed)
    running = Admission(installed, free_port(), environment)
    running.start()
    secret = f"api/v1/namespaces/{SYSTEM}/secrets/kuik-admission-tls"
    wait_until(lambda: installed.api.raw("GET", secret)[0] == 200, "the certificate is there", 10)
    bundle = installed.api.request("GET", secret)["data"]["ca.crt"]
    installed.kubectl("apply", "-f", "-", stdin=json.dumps(configuration(running.port, bundle)))
    wait_until(lambda: _rewrites(running, "first"), "pods are rewritten", 20)
    yield running
    installed.kubectl("delete", "mutatingwebhookconfiguration", WEBHOOK)
    assert running.process
    stop(running.process)
    shield.shutdown()
    for name in ("shop", "audited", "choosing", "out", "off"):
        installed.kubectl("delete", "namespace", name, "--wait=false")
    installed.kubectl("delete", "daemonset", "-n", SYSTEM, "kuik-proxy")


def before_kuik(plane: ControlPlane) -> None:
    """Pods that ran before the webhook was there, as their kubelet reports them."""
    for made in (pod("shop", "old", "nginx:1", "busybox:1"), deployment("shop", "older", "nginx:1", replicas=2)):
        plane.kubectl("apply", "-f", "-", stdin=json.dumps(made))
    wait_until(lambda: len(_of(plane, "older")) == 2, "the Deployment has its pods", 20)
    for one in (*_of(plane, "older"), {"kind": "Pod", "metadata": {"namespace": "shop", "name": "old"}}):
        names = [name for name in ("c0", "c1") if name == "c0" or one["metadata"]["name"] == "old"]
        state = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
        said = [
            {
                "name": name,
                "image": "x",
                "imageID": "x",
                "containerID": f"containerd://{name}",
                "restartCount": 3,
                "ready": True,
                "state": state,
            }
            for name in names
        ]
        plane.api.patch(one, {"status": {"phase": "Running", "containerStatuses": said}}, "status")


def _of(plane: ControlPlane, app: str) -> list[Object]:
    return [one for one in plane.api.list("Pod", f"app={app}") if one["metadata"]["namespace"] == "shop"]


def _has_account(plane: ControlPlane, name: str) -> None:
    path = f"api/v1/namespaces/{name}/serviceaccounts/default"
    wait_until(lambda: plane.api.raw("GET", path)[0] == 200, f"{name} has its account", 10)


def _rewrites(admission: Admission, name: str) -> bool:
    said = admission.create(pod("shop", name, "nginx:1"), "--dry-run=server")
    return str(said["spec"]["containers"][0]["image"]).startswith("localhost:7439/")


def test_public_images_are_rewritten_and_the_originals_noted(admission: Admission) -> None:
    made = pod("shop", "public", "nginx:1", "docker.io/library/busybox", "other.example.com/x")
    made["spec"]["initContainers"] = [{"name": "init", "image": "nginx:1"}]
    created = admission.create(made)
    images = [one["image"] for one in created["spec"]["containers"]]
    assert images == [NGINX, "localhost:7439/docker.io/library/busybox:latest", "other.example.com/x"]
    assert created["spec"]["initContainers"][0]["image"] == NGINX
    noted = json.loads(created["metadata"]["annotations"][ORIGINALS])
    assert noted == {"c0": "nginx:1", "c1": "docker.io/library/busybox", "init": "nginx:1"}


def test_pods_of_controllers_are_rewritten(admission: Admission) -> None:
    admission.create(deployment("shop", "web", "nginx:1"))

    def there() -> bool:
        found = [p for p in admission.plane.api.list("Pod", "app=web") if p["metadata"]["namespace"] == "shop"]
        return bool(found) and found[0]["spec"]["containers"][0]["image"] == NGINX

    wait_until(there, "the Deployment's pod is rewritten", 10)


@pytest.mark.parametrize(
    ("fields", "labels"),
    [
        ({}, {"kuik.dev/cache": "false"}),
        ({"os": {"name": "windows"}}, {}),
        ({"nodeSelector": {"kubernetes.io/os": "windows"}}, {}),
        ({"nodeSelector": {"type": "virtual-kubelet"}}, {}),
        ({"tolerations": [{"key": "virtual-kubelet.io/provider", "operator": "Exists"}]}, {}),
    ],
    ids=["label", "os", "windows", "virtual", "toleration"],
)
def test_what_is_left_alone(admission: Admission, fields: dict[str, Any], labels: dict[str, str]) -> None:
    created = admission.create({**pod("shop", "left", "nginx:1", labels=labels, **fields)}, "--dry-run=server")
    assert created["spec"]["containers"][0]["image"] == "nginx:1"
    assert ORIGINALS not in created["metadata"].get("annotations", {})


def test_the_modes_of_namespaces(admission: Admission) -> None:
    assert admission.image(pod("off", "a", "nginx:1")) == "nginx:1"
    assert admission.image(pod("out", "a", "nginx:1")) == "nginx:1"
    assert admission.image(pod("out", "b", "nginx:1", labels={"kuik.dev/cache": "true"})) == NGINX
    assert admission.image(pod("choosing", "a", "nginx:1")) == "nginx:1"
    assert admission.image(pod("choosing", "b", "nginx:1", labels={"kuik.dev/cache": "true"})) == NGINX


def test_audit_changes_nothing_and_says_what_it_would(admission: Admission) -> None:
    created = admission.create(pod("audited", "a", "nginx:1", "localhost:5000/own"))
    assert [one["image"] for one in created["spec"]["containers"]] == ["nginx:1", "localhost:5000/own"]
    noted = created["metadata"]["annotations"]
    assert json.loads(noted["kuik.dev/would-rewrite"]) == {"c0": NGINX}
    assert json.loads(noted["kuik.dev/left-alone"]) == {"c1": "LoopbackRegistry"}
    assert ORIGINALS not in noted


def asked(plane: ControlPlane, operation: str) -> int:
    """How often the API server has called kuik's webhooks so far about this operation."""
    found = _CALLS.findall(plane.api.raw("GET", "metrics")[1])
    labels = [(dict(_LABEL.findall(said)), int(count)) for said, count in found]
    ours = [count for said, count in labels if said["name"].endswith(".kuik.dev") and said["operation"] == operation]
    return sum(ours)


def test_no_update_of_pods_that_ran_before_ever_reaches_us(admission: Admission) -> None:
    """Labelled, annotated, patched, scaled, and reported on: they stay as they are, but for what was asked."""
    plane = admission.plane

    def seen() -> dict[str, Object]:
        found = {one["metadata"]["uid"]: one for one in (*_of(plane, "older"), *plane.api.list("Pod", "old=yes"))}
        return {uid: {"spec": one["spec"], "status": one["status"]} for uid, one in found.items()}

    plane.kubectl("label", "-n", "shop", "pod/old", "old=yes")
    created, updated, before = asked(plane, "CREATE"), asked(plane, "UPDATE"), seen()
    writes = plane.api.writes("pods")
    assert len(before) == 3
    for name in ("old", *(one["metadata"]["name"] for one in _of(plane, "older"))):
        plane.kubectl("label", "-n", "shop", f"pod/{name}", "kuik.dev/cache=true", "team=a")
        plane.kubectl("annotate", "-n", "shop", f"pod/{name}", "note=this", f"{ORIGINALS}={{}}")
        plane.kubectl("label", "-n", "shop", f"pod/{name}", "kuik.dev/cache-")
    plane.kubectl("scale", "-n", "shop", "deployment/older", "--replicas=4")
    wait_until(lambda: len(_of(plane, "older")) == 4, "the Deployment is scaled", 20)
    after = seen()
    assert {uid: after[uid] for uid in before} == before, "same images, containers and restart counts"
    news = [one for one in after.values() if one not in before.values()]
    assert [one["spec"]["containers"][0]["image"] for one in news] == [NGINX, NGINX], "new ones are new"
    assert asked(plane, "UPDATE") == updated
    assert asked(plane, "CREATE") == created + 2
    assert plane.api.writes("pods") == writes + 9 + 2, "nobody else has written"


def test_an_update_that_reaches_us_all_the_same_is_let_through_as_it_is(admission: Admission) -> None:
    """As where somebody widens the webhook's rules by hand."""
    plane, name = admission.plane, "widened"
    bundle = plane.api.request("GET", f"api/v1/namespaces/{SYSTEM}/secrets/kuik-admission-tls")["data"]["ca.crt"]
    wide = configuration(admission.port, bundle)
    for one in wide["webhooks"]:
        one["rules"] = [{**one["rules"][0], "operations": ["*"], "resources": ["pods", "pods/*"]}]
    plane.kubectl("apply", "-f", "-", stdin=json.dumps({**wide, "metadata": {"name": f"{WEBHOOK}-wide"}}))
    try:
        opted = pod("shop", name, "nginx:1", labels={"kuik.dev/cache": "false"})
        before = admission.create(opted)["spec"]
        updated = asked(plane, "UPDATE")
        for number in range(20):
            plane.kubectl("label", "-n", "shop", f"pod/{name}", "--overwrite", f"turn={number}", "kuik.dev/cache=true")
            if asked(plane, "UPDATE") > updated:
                break
        assert asked(plane, "UPDATE") > updated, "it was called"
        plane.api.patch(opted, {"status": {"phase": "Running"}}, "status")
        kept = plane.api.request("GET", plane.api.path(opted))
        assert kept["spec"]["containers"] == before["containers"]
        assert ORIGINALS not in kept["metadata"].get("annotations", {})
    finally:
        plane.kubectl("delete", "mutatingwebhookconfiguration", f"{WEBHOOK}-wide")


def test_running_pods_are_never_changed(admission: Admission) -> None:
    labelled = pod("shop", "running", "nginx:1", labels={"kuik.dev/cache": "false"})
    admission.create(labelled)
    plane = admission.plane
    plane.kubectl("label", "-n", "shop", "pod/running", "--overwrite", "kuik.dev/cache=true")
    plane.kubectl("annotate", "-n", "shop", "pod/running", "a=b")
    plane.kubectl("set", "image", "-n", "shop", "pod/running", "c0=nginx:2")
    kept = json.loads(plane.kubectl("get", "pod", "-n", "shop", "running", "-o", "json"))
    assert kept["spec"]["containers"][0]["image"] == "nginx:2"
    assert ORIGINALS not in kept["metadata"]["annotations"]


def test_only_new_ephemeral_containers_are_rewritten(admission: Admission) -> None:
    made = pod("shop", "debugged", "nginx:1", labels={"kuik.dev/cache": "false"})
    admission.create(made)
    first = {"spec": {"ephemeralContainers": [{"name": "one", "image": "busybox:1"}]}}
    path = "api/v1/namespaces/shop/pods/debugged/ephemeralcontainers"
    strategic = "application/strategic-merge-patch+json"
    after = admission.plane.api.request("PATCH", path, first, strategic)
    assert [one["image"] for one in after["spec"]["ephemeralContainers"]] == ["busybox:1"], "the pod opted out"
    admission.plane.kubectl("label", "-n", "shop", "pod/debugged", "kuik.dev/cache-", "--overwrite")
    second = {"spec": {"ephemeralContainers": [{"name": "two", "image": "busybox:1"}]}}
    after = admission.plane.api.request("PATCH", path, second, strategic)
    images = {one["name"]: one["image"] for one in after["spec"]["ephemeralContainers"]}
    assert images == {"one": "busybox:1", "two": "localhost:7439/docker.io/library/busybox:1"}
    assert after["spec"]["containers"][0]["image"] == "nginx:1"
    assert ORIGINALS not in after["metadata"].get("annotations", {})


def test_a_private_image_needs_a_proven_secret_of_the_pod(admission: Admission) -> None:
    plane = admission.plane
    image = {
        "apiVersion": "kuik.dev/v1alpha1",
        "kind": "CachedImage",
        "metadata": {"name": "private-app"},
        "spec": {"image": f"{PRIVATE}:1"},
    }
    plane.kubectl("apply", "-f", "-", stdin=json.dumps(image))
    access = {"visibility": "Private", "secrets": [{"namespace": "shop", "secret": "pull"}]}
    plane.api.patch(image, {"status": {"access": access}}, "status")
    key = plane.api.request("GET", f"api/v1/namespaces/{SYSTEM}/secrets/kuik-capability")["data"]["current"]

    opened = capability(base64.b64decode(key), Reference.parse(PRIVATE))
    expected = f"localhost:7439/private/{opened}/{PRIVATE}:2"

    def created() -> str:
        made = pod("shop", "priv", f"{PRIVATE}:2", imagePullSecrets=[{"name": "pull"}])
        return str(admission.create(made, "--dry-run=server")["spec"]["containers"][0]["image"])

    wait_until(lambda: created() == expected, "the proof is seen", 5)
    # The account's secrets are in the pod before the webhook is called.
    plane.kubectl("apply", "-f", "-", stdin=json.dumps(service_account("shop", "puller", "pull")))
    assert admission.image(pod("shop", "by-account", f"{PRIVATE}:2", serviceAccountName="puller")) == expected
    # Without the secret, and in a namespace where a secret of that name proves nothing.
    assert admission.image(pod("shop", "without", f"{PRIVATE}:2")) == f"{PRIVATE}:2"
    elsewhere = pod("out", "w", f"{PRIVATE}:2", labels={"kuik.dev/cache": "true"}, imagePullSecrets=[{"name": "pull"}])
    assert admission.image(elsewhere) == f"{PRIVATE}:2"
    said = plane.try_kubectl(
        "create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod("shop", "warned", f"{PRIVATE}:2"))
    )
    assert "Warning: kuik does not cache container c0" in said.stderr
    plane.kubectl("delete", "ci", "private-app")


def test_a_policy_decides_within_a_moment(admission: Admission) -> None:
    rules = [{"name": "no-nginx", "action": "Ignore", "match": {"images": ["docker.io/library/nginx:*"]}}]
    policy = {"apiVersion": "kuik.dev/v1alpha1", "kind": "CachePolicy", "metadata": {"name": "p", "namespace": "shop"}}
    admission.plane.kubectl("apply", "-f", "-", stdin=json.dumps({**policy, "spec": {"rules": rules}}))
    wait_until(lambda: not _rewrites(admission, "ruled"), "the policy is seen", 5)
    admission.plane.kubectl("delete", "cachepolicy", "-n", "shop", "p")
    wait_until(lambda: _rewrites(admission, "ruled"), "its end is seen", 5)


def test_rewriting_stops_within_seconds_when_the_proxies_are_unfit(admission: Admission) -> None:
    proxies(admission.plane, ready=8)
    wait_until(lambda: not _rewrites(admission, "unfit"), "the breaker opens", 3)
    said = admission.plane.try_kubectl(
        "create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod("shop", "told", "nginx:1"))
    )
    assert "8 of 10 node proxies are ready" in said.stderr
    proxies(admission.plane, ready=9)
    assert not _rewrites(admission, "unfit")
    wait_until(lambda: _rewrites(admission, "unfit"), "the breaker closes", 15)


def test_without_the_process_pods_are_created_as_they_are(admission: Admission) -> None:
    admission.kill()
    assert admission.image(pod("shop", "alone", "nginx:1")) == "nginx:1"
    admission.start()
    wait_until(lambda: _rewrites(admission, "back"), "pods are rewritten again", 20)
