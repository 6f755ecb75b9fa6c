"""A small cluster, as `kuik policy inventory` tells of it."""

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from hooks.wanted import name_of
from kuik.__main__ import main
from kuik.commands.seen import as_document
from kuik.local.documents import written
from kuik.plan.inventory import slim

API = "kuik.dev/v1alpha1"


def kuik(*words: object, stdin: str = "") -> Result:
    return CliRunner().invoke(main, [str(word) for word in words], input=stdin)


def namespace(name: str, **labels: str) -> dict[str, Any]:
    worn = {f"kuik.dev/{key}": value for key, value in labels.items()}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": worn}}


def pod(ns: str, name: str, *images: str, secrets: tuple[str, ...] = (), **meta: Any) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "containers": [
            {"name": f"c{at}", "image": image, "env": [{"name": "KEY", "value": "hush"}]}
            for at, image in enumerate(images)
        ],
        "imagePullSecrets": [{"name": one} for one in secrets],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": ns, **meta}, "spec": spec}


def deployment(ns: str, name: str, *images: str) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": name}}, "spec": pod(ns, name, *images)["spec"]}
    meta = {"name": name, "namespace": ns}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": {"template": template}}


def policy(name: str, *rules: dict[str, Any], ns: str = "") -> dict[str, Any]:
    meta = {"name": name, **({"namespace": ns} if ns else {})}
    kind = "CachePolicy" if ns else "ClusterCachePolicy"
    return {"apiVersion": API, "kind": kind, "metadata": meta, "spec": {"rules": list(rules)}}


def rule(name: str, action: str, **match: Any) -> dict[str, Any]:
    others: dict[str, Any] = {
        key: match.pop(key) for key in ("retention", "enforced", "refresh", "platforms", "referrers") if key in match
    }
    return {"name": name, "action": action, "match": match, **others}


def cached(image: str, size: int = 1000, access: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    status: dict[str, Any] = {"phase": "Cached", "digest": "sha256:" + "1" * 64, "size": size}
    status |= {"platforms": ["linux/amd64"], "conditions": [{"type": "Cached", "status": "True"}]}
    status |= {"access": access} if access else {}
    owner = {"apiVersion": API, "kind": "ImageCache", "name": "default", "uid": "x", "controller": True}
    meta = {"name": name_of(image), "labels": {"kuik.dev/image-cache": "default"}, "ownerReferences": [owner]}
    made = {"apiVersion": API, "kind": "CachedImage", "metadata": meta, "spec": {"image": image, **spec}}
    return {**made, "status": status}


def image_cache(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": API, "kind": "ImageCache", "metadata": {"name": "default"}, "spec": spec}


def inventory(folder: Path, *objects: dict[str, Any]) -> Path:
    path = folder / "inventory.json"
    path.write_text(json.dumps(as_document([slim(obj) for obj in objects])))
    return path


def folder(path: Path, **files: list[dict[str, Any]] | dict[str, Any]) -> Path:
    """Files of manifests, by their names without `.yaml`."""
    path.mkdir(parents=True, exist_ok=True)
    for name, objects in files.items():
        (path / f"{name}.yaml").write_text(written(objects if isinstance(objects, list) else [objects]))
    return path
