"""Sync requests as Metacontroller sends them, of any size."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from bench.policies import cluster_policies
from hooks.facts import Context
from hooks.messages import Stage, answer
from hooks.resources import CACHED, CLUSTER_POLICY, INVENTORY, NAMESPACE, POD
from hooks.stages import STAGES
from kube.schema import defaulted
from kube.types import API_VERSION, CACHED_IMAGE, IMAGE_CACHE, IMAGE_INVENTORY, Object

_Groups = Mapping[str, Any]

_PODS_OF_A_WORKLOAD = 5
_IMAGES_OF_A_NAMESPACE = 50
_SHOP = "shop"
_MOMENT = "2026-03-01T12:00:00Z"
_DIGEST = "sha256:" + "ab" * 32
_ENV = [{"name": f"SETTING_{at}", "value": "x" * 80} for at in range(40)]


def of_pods(pods: int, *, rules: bool) -> dict[str, Any]:
    """Stage 1's request for a namespace with that many pods, of five to a workload; `rules` adds 200 of policies."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _SHOP}}
    related: dict[str, Any] = {POD.group: {f"{_SHOP}/{pod['metadata']['name']}": pod for pod in map(_pod, range(pods))}}
    if rules:
        related[CLUSTER_POLICY.group] = {policy["metadata"]["name"]: policy for policy in cluster_policies()}
    return _request(STAGES["inventory"], namespace, {}, related)


def of_images(images: int) -> dict[str, Any]:
    """Stage 2's request where that many images are cached, of fifty to a namespace."""
    count = range(-(-images // _IMAGES_OF_A_NAMESPACE))
    names = [f"team-{number}" for number in count]
    related: dict[str, Any] = {
        NAMESPACE.group: {
            name: {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in names
        },
        INVENTORY.group: {name: _inventory(name, number, images) for number, name in enumerate(names)},
    }
    cache = {"apiVersion": API_VERSION, "kind": IMAGE_CACHE, "metadata": {"name": "default", "generation": 1}}
    stage, parent = STAGES["imagecache"], defaulted({**cache, "spec": {}})
    first = answer(stage, _request(stage, parent, {}, related), Context(datetime.now(UTC)))
    children = {
        child["metadata"]["name"]: _cached(child) for child in first["children"] if child["kind"] == CACHED_IMAGE
    }
    return _request(stage, parent, {CACHED.group: children}, related)


def of_secrets(secrets: int) -> dict[str, Any]:
    """Stage 3's request for an image that is to be copied with that many pull secrets, each of a namespace."""
    spec = {
        "image": "registry.example.com/team/app:1.0",
        "platforms": [],
        "pullSecrets": [{"namespace": f"team-{at}", "secret": "pull"} for at in range(secrets)],
        "usedBy": [f"team-{at}/Deployment/app" for at in range(min(secrets, 20))],
        "users": secrets,
    }
    meta = {"name": "app-1-0-0123456789", "uid": "u", "generation": 1}
    parent = {"apiVersion": API_VERSION, "kind": CACHED_IMAGE, "metadata": meta, "spec": spec}
    return _request(STAGES["cachedimage"], defaulted(parent), {}, {})


def _request(stage: Stage, parent: Object, children: _Groups, related: _Groups) -> dict[str, Any]:
    """With an empty group for each kind that the stage asks for and that nothing is said of."""
    wanted: _Groups = {rule.resource.group: {} for rule in stage.customize(parent)}
    made: _Groups = {child.group: {} for child in stage.children}
    style = stage.style
    return {style.parent: parent, style.children: {**made, **children}, "related": {**wanted, **related}}


def _inventory(name: str, number: int, images: int) -> Object:
    first = number * _IMAGES_OF_A_NAMESPACE
    listed = [
        {
            "image": f"registry.example.com/team/app{at:05d}:1.{at}",
            "decision": "Cache",
            "rule": "Default",
            "pullSecrets": ["pull"],
            "usedBy": [f"Deployment/app{at}", f"CronJob/tidy{at}"],
            "users": 2,
        }
        for at in range(first, min(first + _IMAGES_OF_A_NAMESPACE, images))
    ]
    spec = {"namespace": name, "images": listed}
    return {"apiVersion": API_VERSION, "kind": IMAGE_INVENTORY, "metadata": {"name": name}, "spec": spec}


def _cached(child: Object) -> Object:
    """A CachedImage that stage 2 asked for, after its copy."""
    meta = {**child["metadata"], "uid": child["metadata"]["name"], "generation": 1, "creationTimestamp": _MOMENT}
    said = {"type": "Cached", "status": "True", "reason": "Copied", "message": "", "lastTransitionTime": _MOMENT}
    status = {
        "phase": "Cached",
        "attempts": 1,
        "failures": 0,
        "digest": _DIGEST,
        "size": 123_456_789,
        "platforms": ["linux/amd64", "linux/arm64"],
        "requestedPlatforms": [],
        "conditions": [said],
    }
    return {**child, "metadata": meta, "status": status}


def _pod(number: int) -> dict[str, Any]:
    """A running pod of about 12.8 KB: two containers, one of them with 40 settings, and what the server adds."""
    workload = number // _PODS_OF_A_WORKLOAD
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"app{workload}-5d8f", "uid": f"u{workload}"}
    images = (f"registry.example.com/team/app{workload}:1.{workload}", "docker.io/library/sidecar:2")
    states = [
        {
            "name": f"c{at}",
            "image": image,
            "imageID": f"{image}@{_DIGEST}",
            "containerID": f"containerd://{_DIGEST[7:]}",
            "ready": True,
            "restartCount": number % 3,
            "state": {"running": {"startedAt": _MOMENT}},
        }
        for at, image in enumerate(images)
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"app{workload}-5d8f-{number}",
            "namespace": _SHOP,
            "uid": f"705ab4f5-6393-11e8-b7cc-{number:012d}",
            "resourceVersion": str(1_000_000 + number),
            "creationTimestamp": _MOMENT,
            "labels": {"app": f"app{workload}", "tier": "web", "pod-template-hash": "5d8f"},
            "ownerReferences": [owner | {"controller": True}],
            "managedFields": [_managed("kube-controller-manager"), _managed("kubelet")],
        },
        "spec": {
            "containers": [_container(at, image, _ENV if at == 0 else []) for at, image in enumerate(images)],
            "imagePullSecrets": [{"name": "pull"}],
            "serviceAccountName": "default",
            "nodeName": f"node-{number % 50}",
            "restartPolicy": "Always",
        },
        "status": {"phase": "Running", "startTime": _MOMENT, "containerStatuses": states},
    }


def _container(at: int, image: str, env: list[dict[str, str]]) -> dict[str, Any]:
    probe = {
        "httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"},
        "periodSeconds": 10,
        "failureThreshold": 3,
    }
    return {
        "name": f"c{at}",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "env": env,
        "livenessProbe": probe,
        "readinessProbe": probe,
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        "volumeMounts": [{"name": f"v{mount}", "mountPath": f"/mnt/{mount}", "readOnly": True} for mount in range(4)],
    }


def _managed(manager: str) -> dict[str, Any]:
    fields: dict[str, Any] = {
        f'k:{{"name":"SETTING_{at}"}}': {".": {}, "f:name": {}, "f:value": {}} for at in range(40)
    }
    return {"manager": manager, "operation": "Update", "time": _MOMENT, "fieldsV1": {"f:spec": fields}}
