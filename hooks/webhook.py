"""The MutatingWebhookConfiguration: which new pods the API server asks about, by the cache's mode and the namespaces'.

There is one webhook for each mode, told apart by the namespaces' label, so that at most one is asked about a pod.
Every field that the API server would fill in is spelled out: else each sync would write it anew.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from hooks.facts import Settings
from hooks.resources import WEBHOOK
from kube.types import CACHE_LABEL, MODE_LABEL, Object, entries, part

NAME = "kuik"
SERVICE = "kuik-admission"
OFF, AUDIT, OPT_IN, ON = "Off", "Audit", "OptIn", "On"
MIRROR = "Mirror"
TIMEOUT = 2
"""Seconds after which the API server goes on without an answer."""
MODES = (OFF, AUDIT, OPT_IN, ON)
_WEBHOOKS = {ON: "on", OPT_IN: "opt-in", AUDIT: "audit"}
_NAMESPACE_NAME = "kubernetes.io/metadata.name"
_ENFORCER = "admissions.enforcer/disabled"  # else AKS adds selectors of its own, and both sides write for ever
_LABELS = {
    "app.kubernetes.io/name": "kube-image-keeper",
    "app.kubernetes.io/component": "hooks",
    "app.kubernetes.io/managed-by": "kube-image-keeper",
    _ENFORCER: "true",
}


def configuration(mode: str, bundle: str, settings: Settings) -> Object:
    """The configuration for a mode other than Off; `bundle` is the CA bundle as the API holds it, PEM in base64."""
    webhooks = [_webhook(one, mode, bundle, settings) for one in (ON, OPT_IN, AUDIT)]
    meta = {"name": NAME, "labels": dict(_LABELS), "annotations": {_ENFORCER: "true"}}
    return {"apiVersion": WEBHOOK.api_version, "kind": WEBHOOK.kind, "metadata": meta, "webhooks": webhooks}


def encoded(bundle: str) -> str:
    """A PEM bundle as the API holds it."""
    return base64.b64encode(bundle.encode()).decode()


def bundle_of(configuration: Object) -> str:
    """The CA bundle in an observed configuration; empty where there is none."""
    found = (part(webhook, "clientConfig").get("caBundle") for webhook in entries(configuration, "webhooks"))
    return next((bundle for bundle in found if isinstance(bundle, str)), "")


def _webhook(one: str, mode: str, bundle: str, settings: Settings) -> Mapping[str, Any]:
    service = {"name": SERVICE, "namespace": settings.job.namespace, "path": f"/admit/{_WEBHOOKS[one]}", "port": 443}
    opted = {"matchLabels": {CACHE_LABEL: "true"}} if one == OPT_IN else {}
    return {
        "name": f"{_WEBHOOKS[one]}.kuik.dev",
        "admissionReviewVersions": ["v1"],
        "clientConfig": {"service": service, "caBundle": bundle},
        "failurePolicy": "Ignore",
        "matchPolicy": "Equivalent",
        "namespaceSelector": {"matchExpressions": _namespaces(one, mode, settings)},
        "objectSelector": opted,
        "reinvocationPolicy": "IfNeeded",
        "rules": [_rule("CREATE", "pods"), _rule("UPDATE", "pods/ephemeralcontainers")],
        "sideEffects": "None",
        "timeoutSeconds": TIMEOUT,
    }


def _namespaces(one: str, mode: str, settings: Settings) -> Sequence[Mapping[str, Any]]:
    ours = sorted({"kube-system", settings.job.namespace, settings.metacontroller_namespace})
    others = sorted(other for other in MODES if other != one)
    by_mode = {"operator": "NotIn", "values": others} if one == mode else {"operator": "In", "values": [one]}
    return [{"key": _NAMESPACE_NAME, "operator": "NotIn", "values": ours}, {"key": MODE_LABEL, **by_mode}]


def _rule(operation: str, resource: str) -> Mapping[str, Any]:
    return {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": [operation],
        "resources": [resource],
        "scope": "Namespaced",
    }
