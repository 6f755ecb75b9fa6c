"""What the service accounts may do on a real API server: what they need, and nothing beside it."""

import json
from pathlib import Path

import pytest

from kube.client import Api, Jobs, KubernetesError
from tests.cluster.rig.api import Object
from tests.cluster.rig.control_plane import ControlPlane

NAMESPACE = "kuik-system"


def job(namespace: str) -> Object:
    containers = [{"name": "copy", "image": "x"}]
    template = {"spec": {"restartPolicy": "Never", "containers": containers}}
    meta = {"name": "annotated", "namespace": namespace}
    spec = {"suspend": True, "template": template}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": spec}


def account(plane: ControlPlane, name: str) -> Path:
    """A kubeconfig with a token of the service account."""
    token = plane.kubectl("create", "token", "-n", NAMESPACE, name).strip()
    return plane.kubeconfig(name, token)


def allowed(plane: ControlPlane, name: str, *question: str) -> bool:
    said = plane.try_kubectl("auth", "can-i", *question, kubeconfig=account(plane, name))
    assert said.stdout.strip() in ("yes", "no"), said.stderr
    return said.stdout.strip() == "yes"


def jobs_of(plane: ControlPlane, name: str) -> Jobs:
    """The Jobs as a copy Job's process reaches them, with the service account's token."""
    return Jobs(Api.from_kubeconfig(str(account(plane, name))))


def test_a_copy_annotates_its_job_and_leaves_the_rest(installed: ControlPlane) -> None:
    installed.kubectl("create", "-f", "-", stdin=json.dumps(job(NAMESPACE)))
    jobs = jobs_of(installed, "kuik-copy")
    jobs.annotate(NAMESPACE, "annotated", {"kuik.dev/result": '{"size": 1}'})
    jobs.annotate(NAMESPACE, "annotated", {"other": "too"})
    kept = json.loads(installed.kubectl("get", "job", "-n", NAMESPACE, "annotated", "-o", "json"))
    assert kept["metadata"]["annotations"] == {"kuik.dev/result": '{"size": 1}', "other": "too"}
    installed.kubectl("delete", "job", "-n", NAMESPACE, "annotated")


def test_a_copy_is_refused_in_other_namespaces_with_words(installed: ControlPlane) -> None:
    installed.kubectl("create", "-f", "-", stdin=json.dumps(job("default")))
    with pytest.raises(KubernetesError, match=r"default/annotated: .* 403: .*cannot patch") as refused:
        jobs_of(installed, "kuik-copy").annotate("default", "annotated", {"a": "b"})
    assert refused.value.status == 403
    installed.kubectl("delete", "job", "-n", "default", "annotated")


def test_a_job_that_is_gone_is_told_apart(installed: ControlPlane) -> None:
    with pytest.raises(KubernetesError) as missing:
        jobs_of(installed, "kuik-copy").annotate(NAMESPACE, "gone", {"a": "b"})
    assert missing.value.status == 404


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (("patch", "jobs", "-n", NAMESPACE), True),
        (("patch", "jobs", "-n", "default"), False),
        (("create", "jobs", "-n", NAMESPACE), False),
        (("delete", "jobs", "-n", NAMESPACE), False),
        (("patch", "jobs", "--subresource=status", "-n", NAMESPACE), False),
        (("get", "secrets", "-n", NAMESPACE), False),
        (("list", "pods", "-n", NAMESPACE), False),
        (("patch", "cachedimages.kuik.dev"), False),
        (("*", "*", "--all-namespaces"), False),
    ],
)
def test_what_a_copy_may_do(installed: ControlPlane, question: tuple[str, ...], expected: bool) -> None:
    assert allowed(installed, "kuik-copy", *question) is expected


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (("watch", "namespaces"), True),
        (("watch", "clustercachepolicies.kuik.dev"), True),
        (("watch", "cachepolicies.kuik.dev", "-A"), True),
        (("watch", "cachedimages.kuik.dev"), True),
        (("watch", "daemonsets.apps", "-n", NAMESPACE), True),
        (("list", "pods", "-A"), True),
        (("watch", "pods", "-n", NAMESPACE), True),
        (("watch", "pods", "-A"), False),
        (("list", "nodes"), False),
        (("create", "events", "-n", "default"), True),
        (("get", "deployments.apps", "-n", "default"), True),
        (("list", "deployments.apps", "-A"), True),
        (("list", "statefulsets.apps", "-A"), True),
        (("list", "cronjobs.batch", "-A"), True),
        (("list", "jobs.batch", "-A"), False),
        (("get", "cronjobs.batch", "-n", "default"), True),
        (("get", "secrets/kuik-token", "-n", NAMESPACE), True),
        (("get", "secrets/kuik-capability", "-n", NAMESPACE), True),
        (("update", "secrets/kuik-admission-tls", "-n", NAMESPACE), True),
        (("create", "secrets", "-n", NAMESPACE), True),
        (("update", "secrets/kuik-token", "-n", NAMESPACE), False),
        (("update", "secrets/kuik-capability", "-n", NAMESPACE), False),
        (("get", "secrets/registry-password", "-n", NAMESPACE), False),
        (("list", "secrets", "-n", NAMESPACE), False),
        (("watch", "secrets", "-n", NAMESPACE), False),
        (("delete", "secrets/kuik-admission-tls", "-n", NAMESPACE), False),
        (("get", "secrets", "-A"), False),
        (("create", "secrets", "-n", "default"), False),
        (("watch", "daemonsets.apps", "-A"), False),
        (("patch", "pods", "-A"), False),
        (("delete", "pods", "-A"), False),
        (("patch", "cachedimages.kuik.dev"), False),
        (("delete", "cachedimages.kuik.dev"), False),
        (("patch", "events", "-A"), False),
        (("create", "mutatingwebhookconfigurations.admissionregistration.k8s.io"), False),
        (("*", "*", "-A"), False),
    ],
)
def test_what_the_hooks_may_do(installed: ControlPlane, question: tuple[str, ...], expected: bool) -> None:
    assert allowed(installed, "kuik-hooks", *question) is expected


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (("patch", "pods", "-A"), True),
        (("list", "pods", "-A"), True),
        (("list", "cachedimages.kuik.dev"), True),
        (("list", "clustercachepolicies.kuik.dev"), True),
        (("list", "cachepolicies.kuik.dev", "-A"), True),
        (("list", "namespaces"), True),
        (("get", "secrets/kuik-capability", "-n", NAMESPACE), True),
        (("get", "secrets/kuik-token", "-n", NAMESPACE), False),
        (("list", "secrets", "-n", NAMESPACE), False),
        (("get", "secrets/kuik-capability", "-n", "default"), False),
        (("delete", "pods", "-A"), False),
        (("create", "pods", "-A"), False),
        (("patch", "pods", "--subresource=status", "-A"), False),
        (("patch", "pods", "--subresource=ephemeralcontainers", "-A"), False),
        (("patch", "deployments.apps", "-A"), False),
        (("patch", "cachedimages.kuik.dev"), False),
        (("*", "*", "-A"), False),
    ],
)
def test_what_rescue_may_do(installed: ControlPlane, question: tuple[str, ...], expected: bool) -> None:
    assert allowed(installed, "kuik-rescue", *question) is expected


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (("list", "cachedimages.kuik.dev"), True),
        (("watch", "cachedimages.kuik.dev"), True),
        (("patch", "cachedimages.kuik.dev"), True),
        (("get", "cachedimages.kuik.dev"), False),
        (("get", "imagecaches.kuik.dev"), True),
        (("patch", "imagecaches.kuik.dev"), True),
        (("list", "pods", "-A"), True),
        (("list", "deployments.apps", "-A"), True),
        (("list", "cronjobs.batch", "-A"), True),
        (("list", "cachepolicies.kuik.dev", "-A"), True),
        (("create", "events", "-n", "default"), True),
        (("delete", "cachedimages.kuik.dev"), False),
        (("create", "cachedimages.kuik.dev"), False),
        (("patch", "cachedimages.kuik.dev", "--subresource=status"), False),
        (("patch", "imagecaches.kuik.dev", "--subresource=status"), False),
        (("delete", "imagecaches.kuik.dev"), False),
        (("patch", "pods", "-A"), False),
        (("watch", "pods", "-A"), False),
        (("list", "nodes"), False),
        (("list", "secrets", "-n", NAMESPACE), False),
        (("get", "secrets/kuik-registry", "-n", NAMESPACE), False),
        (("*", "*", "-A"), False),
    ],
)
def test_what_the_keeper_may_do(installed: ControlPlane, question: tuple[str, ...], expected: bool) -> None:
    assert allowed(installed, "kuik-keeper", *question) is expected
