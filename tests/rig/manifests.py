"""Kubernetes manifests for tests."""

import base64
import json
from pathlib import Path
from typing import Any

import yaml


def deployment(name: str, *images: str, secret: str = "", **metadata: Any) -> dict[str, Any]:
    """A Deployment whose pods run `images`; `labels` are those of the pods, `namespace` is where it is."""
    labels = {"app": name, **metadata.pop("labels", {})}
    spec: dict[str, Any] = {"containers": [{"name": f"c{n}", "image": image} for n, image in enumerate(images)]}
    if secret:
        spec["imagePullSecrets"] = [{"name": secret}]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, **metadata},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def pull_secret(name: str, host: str, user: str, password: str, namespace: str = "default") -> dict[str, Any]:
    """A Secret of type kubernetes.io/dockerconfigjson."""
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    config = json.dumps({"auths": {host: {"auth": auth}}})
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/dockerconfigjson",
        "metadata": {"name": name, "namespace": namespace},
        "data": {".dockerconfigjson": base64.b64encode(config.encode()).decode()},
    }


def write(path: Path, *objects: dict[str, Any]) -> str:
    """Write manifests to a file, at once as an editor or git does; returns the path for a command line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.fresh")
    fresh.write_text(yaml.safe_dump_all(objects))
    fresh.replace(path)
    return str(path)
