"""kuik's own image: without it on the nodes nothing of kuik runs, and nobody but kubelet says why."""

from collections.abc import Iterator

from kube.types import Object, entries, labels, metadata, part
from kuik.doctor.cluster import Cluster, Unseen
from kuik.doctor.finding import Finding, Level
from kuik.doctor.nodes import node_of

_OURS = ("app.kubernetes.io/name", "kube-image-keeper")
_IN_VAIN = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"})
_NAMED = 5
_SAID = 300
_DO = (
    "build it and push it to where nodes pull from (docker build -t NAME:TAG . in kuik's source), then "
    "helm upgrade … --set image.registry=…, image.repository=… and image.tag=…; "
    "image.pullSecrets where the registry asks who they are"
)


def own_image(cluster: Cluster) -> Iterator[Finding]:
    """Whether any of kuik's own pods waits in vain for its image, the installation's Jobs among them."""
    if isinstance(cluster.pods, Unseen):
        yield Finding("image", Level.UNKNOWN, f"pods cannot be listed: {cluster.pods.why}")
        return
    ours = [pod for pod in cluster.pods if _is_ours(pod, cluster.namespace)]
    waiting = [(pod, said) for pod in ours if (said := _waits(pod))]
    if not waiting:
        if ours:
            yield Finding("image", Level.OK, f"none of kuik's {len(ours)} pods waits for its image")
        return
    image, why = waiting[0][1]
    nodes = sorted({node_of(pod) or "no node yet" for pod, _ in waiting})
    where = ", ".join(nodes[:_NAMED]) + (f" and {len(nodes) - _NAMED} more" if nodes[_NAMED:] else "")
    what = f"{len(waiting)} of kuik's {len(ours)} pods wait for their image {image} (on {where}): {why}"
    yield Finding("image", Level.FAIL, what, _DO)


def _is_ours(pod: Object, namespace: str) -> bool:
    name, value = _OURS
    return metadata(pod).get("namespace", namespace) == namespace and labels(pod).get(name) == value


def _waits(pod: Object) -> tuple[str, str] | None:
    """The image and kubelet's words, where a container waits for an image that does not come."""
    status = part(pod, "status")
    for one in entries(status, "initContainerStatuses") + entries(status, "containerStatuses"):
        waiting = part(part(one, "state"), "waiting")
        if waiting.get("reason") in _IN_VAIN:
            said = f"{waiting['reason']}: {waiting.get('message') or 'kubelet says no more'}"
            return str(one.get("image")), said[:_SAID]
    return None
