"""What the accounts ask for seldom, done by them on a real API server: the last look, Events' workloads, a renewal."""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from hooks.certificate import SERVED
from hooks.facts import Known
from hooks.last_look import look
from hooks.own_secrets import CERTIFICATE, OwnSecrets
from kube.client import Api
from kube.events import NORMAL, Involved, Recorder, Said
from registry.proxied import DEFAULT_PROXY
from tests.cluster.rig.control_plane import ControlPlane
from tests.cluster.rig.workloads import cron_job, daemon_set, deployment, namespace, pod, pod_spec
from tests.cluster.test_rights import NAMESPACE, account
from tests.rig.processes import wait_until

SPACE = "seldom"
POLICY = {
    "apiVersion": "kuik.dev/v1alpha1",
    "kind": "CachePolicy",
    "metadata": {"name": "ahead", "namespace": SPACE},
    "spec": {"images": ["policy:1"]},
}


def _owned(kind: str, name: str, version: str, **spec: object) -> dict[str, object]:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": pod_spec(f"{name}:1")}
    fields = {"selector": {"matchLabels": labels}, "template": template, **spec}
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": SPACE}, "spec": fields}


def _job() -> dict[str, object]:
    template = {"spec": pod_spec("job:1", restartPolicy="Never")}
    meta = {"name": "job", "namespace": SPACE}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": {"template": template}}


WORKLOADS = {
    "Deployment": deployment(SPACE, "deployment", "deployment:1"),
    "StatefulSet": _owned("StatefulSet", "stateful", "apps/v1", serviceName="stateful"),
    "DaemonSet": daemon_set(SPACE, "daemon", "daemon:1", labels={"app": "daemon"}),
    "CronJob": cron_job(SPACE, "cron", "cron:1"),
    "Job": _job(),
    "ReplicaSet": _owned("ReplicaSet", "replica", "apps/v1"),
    "Pod": pod(SPACE, "pod", "pod:1"),
}


@pytest.fixture(scope="module")
def workloads(installed: ControlPlane) -> Iterator[ControlPlane]:
    items = {"apiVersion": "v1", "kind": "List", "items": [namespace(SPACE), *WORKLOADS.values(), POLICY]}
    installed.kubectl("apply", "-f", "-", stdin=json.dumps(items))
    made = {"job", "replica"}
    wait_until(
        lambda: made <= {_name(one) for one in installed.api.list("Pod") if one["metadata"]["namespace"] == SPACE},
        "the pods of Job and ReplicaSet are made",
        30,
    )
    yield installed
    installed.kubectl("delete", "namespace", SPACE, "--wait=false")


def _name(made: dict[str, dict[str, str]]) -> str:
    return made["metadata"]["name"].partition("-")[0]


@pytest.mark.parametrize("who", ["kuik-hooks", "kuik-keeper"])
def test_a_last_look_sees_whatever_uses_images(workloads: ControlPlane, who: str) -> None:
    seen = look(Api.from_kubeconfig(str(account(workloads, who))), DEFAULT_PROXY)
    assert isinstance(seen, Known), seen
    named = ("deployment", "stateful", "daemon", "cron", "job", "replica", "pod", "policy")
    assert {f"docker.io/library/{name}:1" for name in named} <= seen.value


def test_an_event_is_about_the_very_workload_of_whatever_kind(workloads: ControlPlane) -> None:
    recorder = Recorder(Api.from_kubeconfig(str(account(workloads, "kuik-hooks"))))
    about = {
        kind: Involved(str(made["apiVersion"]), kind, made["metadata"]["name"], SPACE)
        for kind, made in WORKLOADS.items()
    }
    recorder.say([Said(f"seldom-{kind.lower()}", NORMAL, "Said", "x", one) for kind, one in about.items()])
    recorder.flush(20)
    for kind, one in about.items():
        said = json.loads(workloads.kubectl("get", "event", "-n", SPACE, f"seldom-{kind.lower()}", "-o", "json"))
        there = json.loads(workloads.kubectl("get", kind, "-n", SPACE, one.name, "-o", "json"))
        assert said["involvedObject"]["uid"] == there["metadata"]["uid"], kind


def test_the_certificate_is_renewed_in_its_secret(installed: ControlPlane) -> None:
    owner = OwnSecrets(Api.from_kubeconfig(str(account(installed, "kuik-hooks"))), NAMESPACE)
    names = [f"kuik-admission.{NAMESPACE}.svc"]
    before = owner.certificate(names)[SERVED]
    after = owner.certificate(names, datetime.now(UTC) + timedelta(days=61))[SERVED]
    path = f"api/v1/namespaces/{NAMESPACE}/secrets/{CERTIFICATE}"
    kept = base64.b64decode(installed.api.request("GET", path)["data"][SERVED])
    assert before != after
    assert kept == after
    installed.kubectl("delete", "secret", "-n", NAMESPACE, CERTIFICATE)
