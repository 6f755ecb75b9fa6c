"""The shield's rights: in each namespace to read exactly the pull secrets that are in use, and nothing else."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from hooks.facts import Group, JobSettings, Secret
from hooks.resources import ROLE, ROLE_BINDING
from kube.types import Object, ends, metadata

NAME = "kuik-pull-secrets"
SHIELD = "kuik-shield"
_LABELS = {
    "app.kubernetes.io/name": "kube-image-keeper",
    "app.kubernetes.io/component": "shield",
    "app.kubernetes.io/managed-by": "kube-image-keeper",
}


def pull_roles(secrets: Iterable[Secret], namespaces: Group, settings: JobSettings) -> Iterator[Object]:
    """A Role and a RoleBinding for each namespace with secrets in use; a namespace that ends takes no new object."""
    living = {metadata(ns)["name"] for ns in namespaces.values() if not ends(ns)}
    names: dict[str, set[str]] = {}
    for namespace, secret in secrets:
        if namespace in living:
            names.setdefault(namespace, set()).add(secret)
    for namespace in sorted(names):
        yield _role(namespace, sorted(names[namespace]))
        yield _binding(namespace, settings)


def _role(namespace: str, secrets: list[str]) -> Object:
    rule = {"apiGroups": [""], "resources": ["secrets"], "resourceNames": secrets, "verbs": ["get"]}
    return {"apiVersion": ROLE.api_version, "kind": ROLE.kind, "metadata": _meta(namespace), "rules": [rule]}


def _binding(namespace: str, settings: JobSettings) -> Object:
    return {
        "apiVersion": ROLE_BINDING.api_version,
        "kind": ROLE_BINDING.kind,
        "metadata": _meta(namespace),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": NAME},
        "subjects": [{"kind": "ServiceAccount", "name": SHIELD, "namespace": settings.namespace}],
    }


def _meta(namespace: str) -> Mapping[str, Any]:
    return {"name": NAME, "namespace": namespace, "labels": dict(_LABELS)}
