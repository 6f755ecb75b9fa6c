"""Metacontroller, kuik's kinds, and what the ImageCache says of itself."""

import re
from collections.abc import Iterator

from kube.types import Object, entries, metadata, part, texts
from kuik.doctor.cluster import Cluster, Unseen
from kuik.doctor.finding import Finding, Level

OLDEST = (4, 17, 2)
_KINDS = ("imagecaches", "imageinventories", "cachedimages", "clustercachepolicies", "cachepolicies", "imageprefetches")
_CONTROLLERS = ("compositecontrollers.metacontroller.k8s.io", "decoratorcontrollers.metacontroller.k8s.io")
_VERSION = re.compile(r":v?(\d+)\.(\d+)\.(\d+)")
_INSTALL = (
    "install it first: helm install metacontroller oci://ghcr.io/metacontroller/metacontroller-helm --version 4.17.2 "
    "-n metacontroller --create-namespace"
)
_FLAGS = ("--client-go-qps", "--client-go-burst")
_GOOD = {"Ready": "True", "Degraded": "False", "Rewriting": "True", "StoreFull": "False", "SweepStopped": "False"}


def metacontroller(cluster: Cluster) -> Iterator[Finding]:
    """Whether it is there, new enough, quick enough, and allowed what kuik's controllers ask of it."""
    if isinstance(cluster.kinds, Unseen):
        yield Finding("metacontroller", Level.UNKNOWN, f"custom kinds cannot be listed: {cluster.kinds.why}")
        return
    if not set(_CONTROLLERS) <= cluster.kinds:
        yield Finding(
            "metacontroller", Level.FAIL, "Metacontroller is not installed: its kinds are not there", _INSTALL
        )
        return
    if isinstance(cluster.pods, Unseen):
        yield Finding("metacontroller", Level.UNKNOWN, f"pods cannot be listed: {cluster.pods.why}")
        return
    running = [pod for pod in cluster.pods if is_metacontroller(pod)]
    if not running:
        yield Finding(
            "metacontroller", Level.WARN, "no pod of Metacontroller was found", "see that one runs, 4.17.2 or newer"
        )
        return
    yield _version(running[0])
    yield from _speed(running[0])
    yield from _rights(cluster)


def kinds(cluster: Cluster) -> Iterator[Finding]:
    """Whether all of kuik's kinds are there."""
    if isinstance(cluster.kinds, Unseen):
        return
    missing = [f"{one}.kuik.dev" for one in _KINDS if f"{one}.kuik.dev" not in cluster.kinds]
    if len(missing) == len(_KINDS):
        yield Finding("kinds", Level.UNKNOWN, "kuik is not installed: what was looked at is what it will need")
    elif missing:
        yield Finding(
            "kinds", Level.FAIL, f"these kinds are missing: {', '.join(missing)}", "apply the chart's crds/ folder"
        )
    else:
        yield Finding("kinds", Level.OK, "all of kuik's kinds are there")


def cache(cluster: Cluster) -> Iterator[Finding]:
    """The ImageCache's own conditions, and copies that fail."""
    found = cluster.image_cache
    if not cluster.installed:
        return
    if isinstance(found, Unseen):
        yield Finding("cache", Level.UNKNOWN, f"the ImageCache cannot be read: {found.why}")
        return
    if found is None:
        what = "there is no ImageCache, so nothing is cached and no pod is rewritten"
        yield Finding(
            "cache", Level.FAIL, what, "kubectl apply -f metacontroller/imagecache.yaml, or install the chart"
        )
        return
    conditions = entries(part(found, "status"), "conditions")
    if not conditions:
        what = "nobody has looked at the ImageCache yet"
        yield Finding("cache", Level.FAIL, what, "see that Metacontroller and Deployment kuik-hooks run")
        return
    for one in conditions:
        good = _GOOD.get(str(one.get("type")))
        if good is None or one.get("status") == good or one.get("reason") in ("Off", "Audit", "Mirror"):
            continue
        what = f"{one.get('type')} is {one.get('status')}, {one.get('reason')}: {one.get('message')}"
        yield Finding("cache", Level.WARN, what, "kubectl get ci -o wide shows each image and its reason")
    if all(one.get("status") == _GOOD.get(str(one.get("type")), one.get("status")) for one in conditions):
        yield Finding("cache", Level.OK, "the ImageCache says that all is well")


def is_metacontroller(pod: Object) -> bool:
    """Whether a pod runs Metacontroller, by its images."""
    return any(_image(one) for one in entries(part(pod, "spec"), "containers"))


def _image(container: Object) -> str:
    image = str(container.get("image", ""))
    name = image.rpartition("/")[2]
    return image if name.startswith(("metacontroller:", "metacontroller@", "metacontroller-")) else ""


def _version(pod: Object) -> Finding:
    image = next(filter(None, map(_image, entries(part(pod, "spec"), "containers"))))
    found = _VERSION.search(image)
    if found is None:
        return Finding("metacontroller", Level.UNKNOWN, f"its version cannot be told from {image}", "4.17.2 is needed")
    version = tuple(int(digits) for digits in found.groups())
    shown = ".".join(map(str, version))
    if version < OLDEST:
        return Finding(
            "metacontroller", Level.FAIL, f"it is {shown}, which loses resyncs", "upgrade it to 4.17.2 or newer"
        )
    return Finding("metacontroller", Level.OK, f"it is {shown}")


def _speed(pod: Object) -> Iterator[Finding]:
    started = entries(part(pod, "spec"), "containers")
    words = " ".join(word for one in started for field in ("command", "args") for word in texts(one, field))
    if not all(flag in words for flag in _FLAGS):
        what = "it makes 5 requests a second, with which 2,000 images take half an hour to settle"
        yield Finding("metacontroller", Level.WARN, what, "start it with --client-go-qps=100 --client-go-burst=200")


def _rights(cluster: Cluster) -> Iterator[Finding]:
    if isinstance(cluster.rights, Unseen):
        yield Finding("metacontroller", Level.UNKNOWN, f"its rights cannot be told: {cluster.rights.why}")
        return
    lacking = sorted(what for what, may in cluster.rights.items() if not may)
    if lacking:
        what = f"its service account may not {', '.join(lacking[:5])}"
        yield Finding("metacontroller", Level.FAIL, what, "give it the rights of its chart's ClusterRole, or these")
    elif cluster.rights:
        yield Finding("metacontroller", Level.OK, "its service account may do what kuik's controllers ask of it")


def account_of(pod: Object) -> str:
    """The user name of a pod's service account."""
    name = part(pod, "spec").get("serviceAccountName") or "default"
    return f"system:serviceaccount:{metadata(pod).get('namespace')}:{name}"
