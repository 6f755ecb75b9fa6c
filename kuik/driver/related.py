"""Which objects a customize answer names (Metacontroller's "related resources" rules)."""

from collections.abc import Iterator, Mapping
from typing import Any

from kube.types import Object
from kuik.driver.controllers import Resource
from kuik.driver.objects import Store


def matching(objects: Store, resource: Resource, rule: Mapping[str, Any]) -> Iterator[Object]:
    """The objects of `resource` that a rule's namespace, names and label selectors choose."""
    namespaces = _namespaces(objects, rule)
    names = set(rule.get("names") or ())
    selector = rule.get("labelSelector") or {}
    for obj in objects.list(resource.api_version, resource.kind):
        meta = obj["metadata"]
        if namespaces is not None and resource.namespaced and meta.get("namespace", "") not in namespaces:
            continue
        if (not names or meta["name"] in names) and selects(selector, meta.get("labels") or {}):
            yield obj


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector (matchLabels and matchExpressions) matches; an empty one matches everything."""
    if not (selector.get("matchLabels") or {}).items() <= labels.items():
        return False
    return all(_expression(expression, labels) for expression in selector.get("matchExpressions") or ())


def _expression(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value = labels.get(expression["key"])
    values = expression.get("values") or ()
    match expression["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case other:
            raise ValueError(f"label selector operator {other!r} is not In, NotIn, Exists or DoesNotExist")


def _namespaces(objects: Store, rule: Mapping[str, Any]) -> set[str] | None:
    if rule.get("namespace"):
        return {str(rule["namespace"])}
    selector = rule.get("namespaceSelector")
    if not selector:
        return None
    found = objects.list("v1", "Namespace")
    return {str(ns["metadata"]["name"]) for ns in found if selects(selector, ns["metadata"].get("labels") or {})}
