"""Container runtimes: what they have to be told so that they ask the node proxy, and pulls that failed for it."""

from collections.abc import Iterator, Sequence

from hooks.conditions import holds
from hooks.containers import containers, is_proxy, parse
from kube.types import Object, entries, part
from kuik.doctor.cluster import Cluster, Unseen
from kuik.doctor.finding import Finding, Level
from kuik.doctor.nodes import name_of, node_of, takes_proxies
from registry.proxied import DEFAULT_PROXY
from registry.reference import Reference

_NAMED = 5
_MIRROR = "mirror"
_CRIO = """\
on each of them: printf '[[registry]]\\nlocation = "localhost:7439"\\ninsecure = true\\n' \
> /etc/containers/registries.conf.d/kuik.conf && systemctl reload crio"""


def runtimes(cluster: Cluster) -> Iterator[Finding]:
    """Runtimes that do not ask localhost without TLS by themselves, and pulls that failed for it."""
    if isinstance(cluster.nodes, Unseen) or isinstance(cluster.pods, Unseen):
        return
    if part(cluster.image_cache if isinstance(cluster.image_cache, dict) else {}, "spec").get("delivery") == "Mirror":
        yield from _mirrors(cluster.nodes, cluster.proxies)
        return
    refused = sorted({node_of(pod) for pod in cluster.pods if _asked_with_tls(pod)})
    if refused:
        yield Finding(
            "runtime",
            Level.FAIL,
            f"these nodes ask localhost:7439 with TLS, which it has not: {', '.join(refused[:_NAMED])}",
            f"CRI-O: {_CRIO}. Docker: add localhost:7439 to insecure-registries. containerd asks localhost without "
            "TLS unless /etc/containerd/certs.d says otherwise",
        )
    proven = {node_of(pod) for pod in cluster.pods if _runs_proxied(pod)}
    crio = [name_of(node) for node in cluster.nodes if _runtime(node).startswith("cri-o:")]
    open_ = [name for name in crio if name not in proven and name not in refused]
    if open_:
        what = (
            f"CRI-O has to be told that localhost:7439 has no TLS, which was not proven of {', '.join(open_[:_NAMED])}"
        )
        yield Finding("runtime", Level.WARN, what, _CRIO)
    elif not refused:
        yield Finding("runtime", Level.OK, "container runtimes ask localhost without TLS")


def _mirrors(nodes: Sequence[Object], proxies: Sequence[Object] | Unseen) -> Iterator[Finding]:
    others = [name_of(node) for node in nodes if takes_proxies(node) and not _runtime(node).startswith("containerd:")]
    if others:
        what = f"delivery Mirror needs containerd; these nodes have something else: {', '.join(others[:_NAMED])}"
        yield Finding("runtime", Level.FAIL, what, "use `delivery: Webhook`")
    if isinstance(proxies, Unseen):
        return
    failed = sorted({node_of(pod) for pod in proxies if _mirror_failed(pod)})
    if failed:
        yield Finding(
            "runtime",
            Level.FAIL,
            f"containerd could not be told of the proxy on {', '.join(failed[:_NAMED])}",
            'set config_path = "/etc/containerd/certs.d" in /etc/containerd/config.toml, and restart containerd',
        )
    elif not others:
        yield Finding("runtime", Level.OK, "containerd was told of the proxy on every node")


def _asked_with_tls(pod: Object) -> bool:
    for status in entries(part(pod, "status"), "containerStatuses"):
        message = str(part(part(status, "state"), "waiting").get("message") or "")
        if DEFAULT_PROXY in message and "HTTP response to HTTPS client" in message:
            return True
    return False


def _runs_proxied(pod: Object) -> bool:
    if part(pod, "status").get("phase") != "Running" or not holds(pod, "ContainersReady"):
        return False
    found = (parse(one["image"]) for _, _, one in containers(part(pod, "spec")))
    return any(isinstance(one, Reference) and is_proxy(one.host, DEFAULT_PROXY) for one in found)


def _mirror_failed(pod: Object) -> bool:
    """Whether the proxy's container that tells containerd of it has ended with an error."""
    for status in entries(part(pod, "status"), "containerStatuses"):
        ended = part(part(status, "state"), "terminated") or part(part(status, "lastState"), "terminated")
        if status.get("name") == _MIRROR and ended.get("exitCode"):
            return True
    return False


def _runtime(node: Object) -> str:
    return str(part(part(node, "status"), "nodeInfo").get("containerRuntimeVersion", ""))
