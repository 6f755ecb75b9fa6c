"""What users of a cluster apply."""

from typing import Any

from tests.cluster.rig.api import Object


def namespace(name: str, **labels: str) -> Object:
    meta = {"name": name, "labels": {key.replace("_", "/"): value for key, value in labels.items()}}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": meta}


def pod_spec(*images: str, **fields: Any) -> Object:
    containers = [{"name": f"c{index}", "image": image} for index, image in enumerate(images)]
    return {"containers": containers, **fields}


def deployment(ns: str, name: str, *images: str, replicas: int = 1, **fields: Any) -> Object:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": pod_spec(*images, **fields)}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": ns, "name": name}, "spec": spec}


def daemon_set(ns: str, name: str, *images: str, labels: dict[str, str]) -> Object:
    template = {"metadata": {"labels": labels}, "spec": pod_spec(*images)}
    meta = {"namespace": ns, "name": name, "labels": labels}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": meta, "spec": spec}


def cron_job(ns: str, name: str, *images: str) -> Object:
    job = {"spec": {"template": {"spec": pod_spec(*images, restartPolicy="Never")}}}
    spec = {"schedule": "0 0 1 1 *", "jobTemplate": job}
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"namespace": ns, "name": name}, "spec": spec}


def pod(ns: str, name: str, *images: str, labels: dict[str, str] | None = None, **fields: Any) -> Object:
    meta = {"namespace": ns, "name": name, "labels": labels or {}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": pod_spec(*images, **fields)}


def service_account(ns: str, name: str, *secrets: str) -> Object:
    named = [{"name": secret} for secret in secrets]
    meta = {"namespace": ns, "name": name}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta, "imagePullSecrets": named}


def image_cache(retention: str = "30d", **spec: Any) -> Object:
    # No copy ends by itself here, so none may wait for another's turn unless a test is about that.
    spec = {"retention": retention, "copies": {"concurrency": 100}, **spec}
    return {"apiVersion": "kuik.dev/v1alpha1", "kind": "ImageCache", "metadata": {"name": "default"}, "spec": spec}
