"""The cluster's objects that policies are about: read from the cluster, or from a file that was exported before."""

from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kube.types import Key, Object
from kuik.commands.cluster import listed
from kuik.local.documents import ManifestError, documents
from kuik.plan.inventory import KINDS, keyed, slim

if TYPE_CHECKING:
    from kube.client import Api

KIND = "PolicyInventory"
VERSION = "cli.kuik.dev/v1alpha1"
"""What the exported file says it is; no API server serves it."""


def from_cluster(api: "Api") -> list[dict[str, Any]]:
    """All that the stages read, without what they do not; raises KubernetesError.

    Nodes are left out where this user may not see them.
    """
    return [slim(obj) for kind in KINDS for obj in _listed(api, kind)]


def _listed(api: "Api", kind: str) -> list[Object]:
    from kube.client import KubernetesError

    try:
        return listed(api, kind)
    except KubernetesError as error:
        if kind == "Node" and error.status == HTTPStatus.FORBIDDEN:
            return []
        raise


def from_file(path: Path) -> dict[Key, Object]:
    """The objects in an exported file; raises ManifestError for another one."""
    try:
        found = list(documents(path.read_text(encoding="utf-8"), str(path)))
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    document = found[0] if len(found) == 1 and isinstance(found[0], dict) else {}
    items = document.get("items")
    if (document.get("apiVersion"), document.get("kind")) != (VERSION, KIND) or not isinstance(items, list):
        raise ManifestError(f"{path} is not what `kuik policy inventory` writes")
    for number, item in enumerate(items):
        if not _is_object(item):
            raise ManifestError(f"{path}: items[{number}] is no object of a kind that a plan reads")
    return keyed(items)


def as_document(objects: list[dict[str, Any]]) -> dict[str, Any]:
    """What is written to the file."""
    return {"apiVersion": VERSION, "kind": KIND, "items": objects}


def _is_object(item: Any) -> bool:
    meta = item.get("metadata") if isinstance(item, dict) else None
    return (
        isinstance(meta, dict)
        and isinstance(meta.get("name"), str)
        and isinstance(meta.get("namespace", ""), str)
        and item.get("kind") in KINDS
        and isinstance(item.get("apiVersion"), str)
    )


def cluster_or_file(api: "Api | None", path: Path | None) -> dict[Key, Object]:
    """The objects of the one that is given; raises click's errors."""
    try:
        if path is not None:
            return from_file(path)
    except ManifestError as error:
        raise click.ClickException(str(error)) from error
    assert api is not None  # noqa: S101 - without a file there is a cluster
    return keyed(from_cluster(api))
