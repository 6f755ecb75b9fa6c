"""Reads what a diagnosis rests on. What may not be read or tried is Unseen, with the API server's words."""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from hooks.conditions import holds
from hooks.directory import PROXIES
from hooks.own_secrets import CERTIFICATE
from hooks.webhook import NAME
from kube.client import Api, KubernetesError
from kube.paths import KINDS
from kube.types import CACHE_LABEL, Object, metadata, part
from kuik.doctor.cluster import NAMESPACE_OF_TRIES, Cluster, Tries, Try, Unseen
from kuik.doctor.controllers import account_of, is_metacontroller
from registry.proxied import DEFAULT_PROXY
from registry.reference import Reference

T = TypeVar("T")
_LEASES = "apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
_CRDS = "apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_REVIEW = "apis/authorization.k8s.io/v1/subjectaccessreviews"
_USUAL = "registry.k8s.io/pause:3.10"
_REVIEWS = re.compile(r"^kuik_admission_reviews_total\{[^}]*\} ([0-9.e+]+)", re.MULTILINE)
_HOOKS = "app.kubernetes.io/name=kube-image-keeper,app.kubernetes.io/component=hooks"
_TELEMETRY = 10251
_NEEDED = {
    ("kuik.dev", "imageinventories"): "create update delete",
    ("kuik.dev", "cachedimages"): "create update delete",
    ("kuik.dev", "cachedimages/status"): "update",
    ("kuik.dev", "imagecaches/status"): "update",
    ("kuik.dev", "imageprefetches"): "create update delete",
    ("kuik.dev", "imageprefetches/status"): "update",
    ("batch", "jobs"): "create delete",
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"): "create update delete",
    ("rbac.authorization.k8s.io", "roles"): "create update delete escalate",
    ("rbac.authorization.k8s.io", "rolebindings"): "create update delete",
    ("", "namespaces"): "list watch",
    ("", "pods"): "list watch create update delete",
    ("apps", "daemonsets"): "list watch",
}
"""What kuik's controllers ask of Metacontroller, by group and resource."""


def gather(api: Api, namespace: str, tried_in: str = NAMESPACE_OF_TRIES) -> Cluster:
    """One look at a cluster; `namespace` is kuik's, pods are tried in `tried_in`. Nothing is changed."""
    pods = seen(lambda: tuple(api.items(KINDS["Pod"].collection())))
    cached_image = seen(lambda: _cached_image(api))
    return Cluster(
        now=datetime.now(UTC),
        namespace=namespace,
        tries=_tries(api, namespace, tried_in, cached_image),
        kinds=seen(lambda: frozenset(str(metadata(one)["name"]) for one in api.items(_CRDS))),
        image_cache=seen(lambda: api.find(KINDS["ImageCache"].path("default"))),
        webhook=seen(lambda: api.find(KINDS["MutatingWebhookConfiguration"].path(NAME))),
        nodes=seen(lambda: tuple(api.items("api/v1/nodes"))),
        proxies=_selected(api, KINDS["Pod"].collection(namespace)),
        daemon_sets=_selected(api, KINDS["DaemonSet"].collection(namespace)),
        pods=pods,
        leases=seen(lambda: tuple(api.items(_LEASES))),
        certificate=seen(lambda: _certificate(api, namespace)),
        rights=seen(lambda: _rights(api, () if isinstance(pods, Unseen) else pods)),
    )


def seen(read: Callable[[], T]) -> T | Unseen:
    """What `read` gives, or why it could not."""
    try:
        return read()
    except KubernetesError as error:
        return Unseen(str(error))


def _selected(api: Api, path: str) -> "tuple[Object, ...] | Unseen":
    return seen(lambda: tuple(api.items(path, {"labelSelector": PROXIES})))


def _tries(api: Api, namespace: str, tried_in: str, cached_image: "str | Unseen | None") -> Tries:
    before = seen(lambda: _reviews(api, namespace))
    cached: Try | Unseen | None = None
    if isinstance(cached_image, str):
        cached = seen(lambda: _try(api, tried_in, _pod(cached_image, {CACHE_LABEL: "true"})))
    after = seen(lambda: _reviews(api, namespace))
    called: bool | Unseen = Unseen("admission's metrics cannot be read")
    if isinstance(before, float) and isinstance(after, float):
        called = after > before
    return Tries(
        namespace=tried_in,
        usual=seen(lambda: _try(api, tried_in, _pod(_USUAL))),
        proxied=seen(lambda: _try(api, tried_in, _pod(f"{DEFAULT_PROXY}/docker.io/library/busybox:1.36"))),
        host=seen(lambda: _try(api, namespace, _on_host(_pod(_USUAL)))),
        cached=cached if not isinstance(cached_image, Unseen) else cached_image,
        called=called,
    )


def _try(api: Api, namespace: str, pod: Mapping[str, Any]) -> Try:
    """Send a pod to be made and not kept; raises KubernetesError where that was not the question any more."""
    try:
        return Try(pod=api.create(f"{KINDS['Pod'].collection(namespace)}?dryRun=All", pod))
    except KubernetesError as error:
        if error.status in (400, 403, 422) and "cannot create resource" not in str(error):
            return Try(refusal=str(error).partition(": ")[2] or str(error))
        raise


def _pod(image: str, labels: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A pod that the strictest Pod Security level takes."""
    confined = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True}
    some = {"cpu": "10m", "memory": "16Mi"}
    container = {
        "name": "tried",
        "image": image,
        "securityContext": confined,
        "resources": {"requests": some, "limits": some},
    }
    secure = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {"containers": [container], "securityContext": secure, "automountServiceAccountToken": False}
    meta = {"generateName": "kuik-doctor-", "labels": {"app.kubernetes.io/name": "kuik-doctor", **(labels or {})}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


def _on_host(pod: dict[str, Any]) -> dict[str, Any]:
    return {**pod, "spec": {**pod["spec"], "hostNetwork": True}}


def _cached_image(api: Api) -> str | None:
    """A public image that is cached, by which admission's answer is certain."""
    for one in _known(api, KINDS["CachedImage"].collection()):
        image, access = str(part(one, "spec").get("image")), part(part(one, "status"), "access")
        if holds(one, "Cached") and access.get("visibility") == "Public" and Reference.parse(image).digest is None:
            return image
    return None


def _known(api: Api, path: str) -> list[Object]:
    try:
        return list(api.items(path))
    except KubernetesError as error:
        if error.status == 404:  # the kind is not there yet
            return []
        raise


def _reviews(api: Api, namespace: str) -> float:
    """How many reviews all replicas of admission have answered."""
    total = 0.0
    for pod in api.items(KINDS["Pod"].collection(namespace), {"labelSelector": _HOOKS}):
        name = metadata(pod)["name"]
        text = api.text(f"{KINDS['Pod'].path(f'{name}:{_TELEMETRY}', namespace)}/proxy/metrics")
        total += sum(float(found) for found in _REVIEWS.findall(text))
    return total


def _certificate(api: Api, namespace: str) -> str:
    """What admission serves: the certificate alone is looked at."""
    secret = api.get(KINDS["Secret"].path(CERTIFICATE, namespace))
    try:
        return base64.b64decode(str(part(secret, "data").get("tls.crt", "")), validate=True).decode("ascii")
    except (binascii.Error, ValueError) as error:
        raise KubernetesError(f"Secret {CERTIFICATE}: tls.crt is not what it should be") from error


def _rights(api: Api, pods: "tuple[Object, ...]") -> Mapping[str, bool]:
    account = next((account_of(pod) for pod in pods if is_metacontroller(pod)), None)
    if account is None:
        return {}
    found = {}
    for (group, resource), verbs in _NEEDED.items():
        name, _, sub = resource.partition("/")
        for verb in verbs.split():
            asked = {"verb": verb, "group": group, "resource": name, **({"subresource": sub} if sub else {})}
            review = {"user": account, "groups": _groups(account), "resourceAttributes": asked}
            body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": review}
            answer = api.create(_REVIEW, body)
            found[f"{verb} {resource}"] = part(answer, "status").get("allowed") is True
    return found


def _groups(account: str) -> list[str]:
    return ["system:serviceaccounts", f"system:serviceaccounts:{account.split(':')[2]}", "system:authenticated"]
