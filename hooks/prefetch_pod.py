"""The pod that pulls images onto one node, one after another, and runs none of them."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from hooks.prefetch_look import CONTAINER, Before
from hooks.prefetch_rules import Rule
from kube.types import CACHE_LABEL, Object, annotations, entries, format_time, labels, metadata, parse_time, part

PROGRESS = "kuik.dev/prefetch"
NODE = "kuik.dev/prefetch-node"
PRIORITY = "kuik-prefetch"
COMMAND = "/kuik.dev/nothing-runs-here"
"""A path that no image has."""

_LABELS = {
    "app.kubernetes.io/name": "kube-image-keeper",
    "app.kubernetes.io/component": "prefetch",
    "app.kubernetes.io/managed-by": "kube-image-keeper",
    CACHE_LABEL: "false",
    "sidecar.istio.io/inject": "false",
}
_ANNOTATIONS = {"linkerd.io/inject": "disabled", "cluster-autoscaler.kubernetes.io/safe-to-evict": "true"}
_NOBODY = 65534
_MAX_MESSAGE = 300
_SLUG = 40


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a pod is. `at` is the image it pulls, `began` when the node's first pod of this work was wanted.

    `serial` counts the pods that a work took on the node, `failed` has the images that did not come, and why. With
    `direct`, nothing is pulled from the node's proxy.
    """

    work: str
    began: datetime
    since: datetime
    at: int = 0
    serial: int = 0
    direct: bool = False
    failed: Mapping[int, str] = field(default_factory=dict)
    before: Before = field(default_factory=Before)

    @property
    def pulled(self) -> int:
        """Images that are on the node."""
        return self.at - len(self.failed)

    def next(self, pod: Object, now: datetime, failed: str = "", *, anew: bool = False) -> "Progress":
        """The progress with the next image; `failed` says why this one did not come, `anew` asks for another pod."""
        failures = {**self.failed, self.at: failed[:_MAX_MESSAGE]} if failed else self.failed
        before, serial = (Before(), self.serial + 1) if anew else (Before.of(pod), self.serial)
        return replace(self, at=self.at + 1, since=now, failed=failures, before=before, serial=serial)

    def written(self) -> str:
        """For the pod's annotation."""
        said = {
            "work": self.work,
            "began": format_time(self.began),
            "since": format_time(self.since),
            "at": self.at,
            "serial": self.serial,
            "direct": self.direct,
            "failed": {str(at): why for at, why in self.failed.items()},
            "before": self.before.written(),
        }
        return json.dumps(said, sort_keys=True, separators=(",", ":"))


def progress_of(pod: Object) -> Progress | None:
    """What a pod's annotation says; None where nobody can read it."""
    try:
        said = json.loads(str(annotations(pod).get(PROGRESS)))
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None
    began, since, at, serial = (
        parse_time(said.get("began")),
        parse_time(said.get("since")),
        said.get("at"),
        said.get("serial"),
    )
    if began is None or since is None or not isinstance(at, int) or not isinstance(serial, int):
        return None
    failed = {int(one): str(why) for one, why in part(said, "failed").items() if one.isdecimal()}
    direct, before = said.get("direct") is True, Before.read(part(said, "before"))
    return Progress(str(said.get("work")), began, since, at, serial, direct, failed, before)


def node_of(pod: Object) -> str:
    """The node that a pod of this module is for."""
    return str(annotations(pod).get(NODE, ""))


def pod_name(rule: Rule, node: str, progress: Progress) -> str:
    """Another name for each node, work and serial, so that no pod takes another's place."""
    whole = f"{rule.name} {node} {progress.work} {progress.serial}"
    slug = re.sub(r"[^a-z0-9]+", "-", rule.name)[:_SLUG].strip("-")
    return f"prefetch-{slug}-{hashlib.sha256(whole.encode()).hexdigest()[:10]}"


def pod(rule: Rule, node: str, image: str, progress: Progress, observed: Object | None = None) -> Object:
    """The pod that pulls an image onto a node. Of an observed one nothing but image and annotation ever changes.

    What the API server would fill in or add, and lets nobody change, is given back as it is.
    """
    name = metadata(observed)["name"] if observed is not None else pod_name(rule, node, progress)
    noted = {**_ANNOTATIONS, NODE: node, PROGRESS: progress.written()}
    meta = {"name": name, "namespace": rule.namespace, "labels": dict(_LABELS), "annotations": noted}
    there = part(observed or {}, "spec")
    spec = {
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": _only(node)}},
        "automountServiceAccountToken": False,
        "containers": [_container(image)],
        "enableServiceLinks": False,
        "priorityClassName": PRIORITY,
        "restartPolicy": "Always",
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _NOBODY,
            "runAsGroup": _NOBODY,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationGracePeriodSeconds": 1,
    }
    secrets = entries(there, "imagePullSecrets") if there else [{"name": one} for one in rule.secrets]
    tolerations = entries(there, "tolerations") if there else list(rule.tolerations)
    # The API server drops empty lists, and each sync would write them anew.
    lists = {name: one for name, one in (("imagePullSecrets", secrets), ("tolerations", tolerations)) if one}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {**spec, **lists}}


def is_ours(obj: Object) -> bool:
    """Whether a pod pulls images for this module: no workload, and nothing that is helped."""
    found = labels(obj)
    return all(found.get(name) == _LABELS[name] for name in ("app.kubernetes.io/name", "app.kubernetes.io/component"))


def _only(node: str) -> Mapping[str, Any]:
    """As a DaemonSet places its pods: the scheduler sees to taints and room."""
    field = {"key": "metadata.name", "operator": "In", "values": [node]}
    return {"nodeSelectorTerms": [{"matchFields": [field]}]}


def _container(image: str) -> Mapping[str, Any]:
    return {
        "name": CONTAINER,
        "image": image,
        "imagePullPolicy": "Always",
        "command": [COMMAND],
        "resources": {"requests": {"cpu": "1m", "memory": "1Mi"}, "limits": {"cpu": "100m", "memory": "32Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }
