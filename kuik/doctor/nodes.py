"""Nodes: which have no proxy and why, and whether their clocks agree."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from hooks.conditions import holds
from hooks.placement import has_no_place
from kube.types import Object, entries, labels, metadata, parse_time, part
from kuik.doctor.cluster import Cluster, Unseen
from kuik.doctor.finding import Finding, Level

_NAMED = 5
_LATE = timedelta(seconds=90)
"""A node renews its lease every 10 seconds; one that is Ready and so late has another clock than the others."""
_EARLY = timedelta(seconds=10)


def proxies(cluster: Cluster) -> Iterator[Finding]:
    """Linux nodes without a proxy that is ready, and why."""
    if isinstance(cluster.nodes, Unseen):
        yield Finding("proxies", Level.UNKNOWN, f"nodes cannot be listed: {cluster.nodes.why}")
        return
    if not cluster.installed:
        return
    if isinstance(cluster.proxies, Unseen) or isinstance(cluster.daemon_sets, Unseen):
        yield Finding("proxies", Level.UNKNOWN, f"the node proxies cannot be listed in {cluster.namespace}")
        return
    if not cluster.daemon_sets:
        yield Finding("proxies", Level.FAIL, f"there is no node proxy's DaemonSet in {cluster.namespace}", "install it")
        return
    linux = [node for node in cluster.nodes if takes_proxies(node)]
    without = [
        (name_of(node), why) for node in linux if (why := without_proxy(node, cluster.proxies, cluster.daemon_sets[0]))
    ]
    if not without:
        yield Finding("proxies", Level.OK, f"each of {len(linux)} Linux nodes has a node proxy that is ready")
        return
    told = "; ".join(f"{name}: {why}" for name, why in without[:_NAMED])
    more = f"; and {len(without) - _NAMED} more" if len(without) > _NAMED else ""
    level = Level.FAIL if len(without) * 10 > len(linux) else Level.WARN
    what = f"{len(without)} of {len(linux)} Linux nodes have no node proxy that is ready: {told}{more}"
    yield Finding(
        "proxies", level, what, "pods there wait until they are rescued; more than one in ten stops rewriting"
    )


def clocks(cluster: Cluster) -> Iterator[Finding]:
    """Nodes whose clocks are not the API server's, by their heartbeats, and this machine's own."""
    server = _server_time(cluster)
    if server is None:
        yield Finding("clock", Level.UNKNOWN, "the API server's clock could not be read")
        return
    if abs(server - cluster.now) > _LATE:
        what = (
            f"this machine's clock differs from the API server's by {abs(server - cluster.now).total_seconds():.0f} s"
        )
        yield Finding("clock", Level.WARN, what, "set it by NTP; what is said of certificates here may be wrong")
    if isinstance(cluster.leases, Unseen) or isinstance(cluster.nodes, Unseen):
        return
    ready = {name_of(node) for node in cluster.nodes if holds(node, "Ready")}
    wrong = []
    for lease in cluster.leases:
        renewed = parse_time(part(lease, "spec").get("renewTime"))
        if name_of(lease) in ready and renewed and not server - _LATE <= renewed <= server + _EARLY:
            wrong.append(f"{name_of(lease)} ({(renewed - server).total_seconds():+.0f} s)")
    if wrong:
        what = f"clocks of nodes differ from the API server's: {', '.join(sorted(wrong)[:_NAMED])}"
        yield Finding("clock", Level.WARN, what, "run NTP on them: retention and certificates go by the clock")
    else:
        yield Finding("clock", Level.OK, "the nodes' clocks agree with the API server's")


def without_proxy(node: Object, proxies: Sequence[Object], daemon_set: Object) -> str:
    """Why a node has no proxy that is ready; empty where it has one."""
    here = [pod for pod in proxies if node_of(pod) == name_of(node)]
    if any(holds(pod, "Ready") for pod in here):
        return ""
    if here:
        return _not_ready(here[0])
    return "the node is not ready" if not holds(node, "Ready") else _not_made(node, daemon_set)


def _not_ready(pod: Object) -> str:
    status = part(pod, "status")
    for one in entries(status, "initContainerStatuses") + entries(status, "containerStatuses"):
        waiting = part(part(one, "state"), "waiting")
        if waiting.get("reason"):
            said = str(waiting.get("message") or "")[:200]
            return f"{name_of(pod)} {waiting['reason']}" + (f": {said}" if said else "")
    return f"{name_of(pod)} is not ready"


def _not_made(node: Object, daemon_set: Object) -> str:
    spec = part(part(part(daemon_set, "spec"), "template"), "spec")
    for taint in entries(part(node, "spec"), "taints"):
        if taint.get("effect") != "PreferNoSchedule" and not _tolerated(taint, entries(spec, "tolerations")):
            return f"its taint {taint.get('key')}:{taint.get('effect')} is not tolerated: add it to proxy.tolerations"
    for key, value in part(spec, "nodeSelector").items():
        if labels(node).get(key) != value:
            return f"it lacks the label {key}={value} of the DaemonSet's nodeSelector"
    return "no pod was made for it"


def _tolerated(taint: Object, tolerations: Sequence[Object]) -> bool:
    def tolerates(one: Object) -> bool:
        if one.get("effect") not in (None, "", taint.get("effect")):
            return False
        if one.get("operator") == "Exists":
            return one.get("key") in (None, "", taint.get("key"))
        return one.get("key") == taint.get("key") and (one.get("value") or "") == (taint.get("value") or "")

    return any(map(tolerates, tolerations))


def _server_time(cluster: Cluster) -> datetime | None:
    """When the API server made a pod that was tried."""
    for tried in (cluster.tries.usual, cluster.tries.proxied, cluster.tries.host):
        if not isinstance(tried, Unseen) and tried.pod is not None:
            return parse_time(metadata(tried.pod).get("creationTimestamp"))
    return None


def takes_proxies(node: Object) -> bool:
    """Whether a proxy should run on a node."""
    return not has_no_place(node)


def name_of(obj: Object) -> str:
    """An object's name."""
    return str(metadata(obj).get("name", ""))


def node_of(pod: Object) -> str:
    """The node that a pod is on; empty where it has none."""
    return str(part(pod, "spec").get("nodeName") or "")
