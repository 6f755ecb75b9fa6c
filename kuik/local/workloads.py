"""What a cluster would run for a set of manifests, as the objects that the stages read."""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Any

import orjson

from kube.types import CACHE_POLICY, CLUSTER_CACHE_POLICY, Key, Object, entries, metadata, part

TEMPLATES = {"Deployment", "StatefulSet", "DaemonSet", "CronJob"}
"""Workloads whose templates stage 1 reads by itself."""

_MAKES_PODS = {"ReplicaSet", "Job", "ReplicationController"}
_AS_THEY_ARE = {"Pod", "ServiceAccount", *TEMPLATES}
_VERSIONS = {"Pod": "v1", "ServiceAccount": "v1", "CronJob": "batch/v1"}
DEFAULT_NAMESPACE = "default"


def cluster_objects(manifests: Iterable[Object]) -> dict[Key, Object]:
    """The namespaces, pods, service accounts, workloads and policies that applying `manifests` would bring about.

    A ReplicaSet or Job stands as the pod that it would make; every namespace that is named exists. Kinds that run no
    images are left out. An object that is given twice counts as given last, as with `kubectl apply`.
    """
    found: dict[Key, Object] = {}
    for manifest in manifests:
        for obj in _objects(manifest):
            found[Key.of(obj)] = obj
    for namespace in {key.namespace for key in found if key.namespace} | {DEFAULT_NAMESPACE}:
        obj = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        found.setdefault(Key.of(obj), obj)
    return found


def _objects(manifest: Object) -> Iterator[Object]:
    kind = manifest["kind"]
    if kind == "Namespace":
        yield _plain(manifest, {**manifest["metadata"]})
    elif kind == CLUSTER_CACHE_POLICY:
        yield manifest
    elif kind == CACHE_POLICY:
        yield _plain(manifest, _metadata(manifest))
    elif kind in _AS_THEY_ARE:
        version = _VERSIONS.get(kind, "apps/v1")
        yield {**_plain(manifest, _metadata(manifest)), "apiVersion": version}
    elif kind in _MAKES_PODS:
        yield _pod_of(manifest)


def _pod_of(workload: Object) -> Object:
    """The pod that a ReplicaSet or Job makes, owned by it, or by what owns the workload."""
    template = part(part(workload, "spec"), "template")
    meta = _metadata(workload)
    inner = metadata(template)
    owners = [ref for ref in entries(meta, "ownerReferences") if ref.get("controller")]
    owner = (
        owners[0] if owners else {"apiVersion": workload["apiVersion"], "kind": workload["kind"], "name": meta["name"]}
    )
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{meta['name']}-{workload['kind'].lower()}",
            "namespace": meta["namespace"],
            "labels": part(inner, "labels"),
            "annotations": part(inner, "annotations"),
            "ownerReferences": [{**owner, "controller": True}],
        },
        "spec": part(template, "spec"),
    }


def _metadata(manifest: Object) -> dict[str, Any]:
    meta = metadata(manifest)
    name = meta.get("name") or meta["generateName"] + _suffix(manifest)
    owners = [ref for ref in entries(meta, "ownerReferences") if isinstance(ref.get("uid", ""), str)]
    return {**meta, "name": name, "namespace": meta.get("namespace") or DEFAULT_NAMESPACE, "ownerReferences": owners}


def _suffix(manifest: Object) -> str:
    """What the API server would make up after a generateName; here the same for the same manifest."""
    return sha256(orjson.dumps(manifest, option=orjson.OPT_SORT_KEYS)).hexdigest()[:5]


def _plain(manifest: Object, metadata: dict[str, Any]) -> Object:
    body = {name: value for name, value in manifest.items() if name != "status"}
    return {**body, "metadata": metadata}
