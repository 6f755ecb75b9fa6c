"""The Job that reads images on a node: as that node's proxy is seen there, with no right and no credential. Pure."""

from collections.abc import Mapping

from hooks.jobs import confined, one_run, values
from kube.types import Object, entries, part

COMPONENT = "drill"
_LABELS = {
    "app.kubernetes.io/name": "kube-image-keeper",
    "app.kubernetes.io/component": COMPONENT,
    "app.kubernetes.io/managed-by": "kube-image-keeper",
}


def drill_job(
    name: str, node: str, daemon_set: Object, environment: Mapping[str, str], deadline: int, namespace: str
) -> Object:
    """The Job `name` on `node`, of the image and the account of the node proxies' DaemonSet, for `deadline` seconds.

    It shares its node's network, as that proxy does, which answers on the node's loopback alone.
    """
    proxy = part(part(part(daemon_set, "spec"), "template"), "spec")
    image = str(next((one.get("image") for one in entries(proxy, "containers") if one.get("name") == "proxy"), ""))
    only = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    pod = {
        "restartPolicy": "Never",
        "serviceAccountName": str(proxy.get("serviceAccountName") or "default"),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "hostNetwork": True,
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [only]}}},
        "tolerations": [{"operator": "Exists"}],
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [confined(COMPONENT, ["kuik.drill"], image, values(environment))],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "16Mi"}}],
        **({"imagePullSecrets": proxy["imagePullSecrets"]} if entries(proxy, "imagePullSecrets") else {}),
    }
    meta = {"name": name, "namespace": namespace, "labels": dict(_LABELS)}
    return one_run(meta, deadline, pod)
