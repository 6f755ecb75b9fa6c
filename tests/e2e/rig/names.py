"""Names in a cluster: CoreDNS, as clusters have it, and apart from it what nodes ask for what is outside.

The cluster's DNS is a Service with the address that installers give it; a node's pods reach it there. The machine's own
resolver leads on to it: controllers that run beside the cluster find its Services so, as they would as its pods.
"""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.cluster.rig.control_plane import ControlPlane
from tests.e2e.rig.network import CONTROL_PLANE
from tests.rig.built import program
from tests.rig.processes import wait_until

CLUSTER_DNS = "10.96.0.10"
OUTSIDE = "10.88.0.4"
"""Where it is known what is outside, and nothing else: what a node's own file of resolvers names."""
MACHINE = "10.88.0.5"
_INSIDE = "coredns"
_BESIDE = "resolver"
_CLUSTER = """\
cluster.local in-addr.arpa {{
  bind {address}
  kubernetes cluster.local in-addr.arpa {{
    kubeconfig {kubeconfig}
    ttl 1
  }}
}}
"""
_HOSTS = """\
. {{
  bind {addresses}
  hosts {{
{hosts}
  }}
}}
"""
_ONWARD = """\
cluster.local {{
  bind {machine}
  forward . {address}
}}
"""
_RESOLV = """\
nameserver {server}
"""
_SEARCH = """\
search svc.cluster.local cluster.local
"""


def serve(plane: ControlPlane, folder: Path, hosts: Mapping[str, str]) -> None:
    """Answer for services and for these hosts (name to address); it ends with the control plane."""
    folder.mkdir(parents=True)
    lines = "\n".join(f"    {address} {name}" for name, address in hosts.items())
    inside = _CLUSTER.format(address=CONTROL_PLANE, kubeconfig=plane.kubeconfig())
    (folder / _INSIDE).write_text(inside + _HOSTS.format(addresses=CONTROL_PLANE, hosts=lines))
    onward = _ONWARD.format(machine=MACHINE, address=CONTROL_PLANE)
    (folder / _BESIDE).write_text(onward + _HOSTS.format(addresses=f"{OUTSIDE} {MACHINE}", hosts=lines))
    _start(plane, folder, _INSIDE)
    _start(plane, folder, _BESIDE)
    plane.kubectl("apply", "-f", "-", stdin=json.dumps(_service()))
    node_s(folder).write_text(_RESOLV.format(server=OUTSIDE))
    machine_s = folder / "machine.conf"
    machine_s.write_text(_RESOLV.format(server=MACHINE) + _SEARCH)
    put(machine_s, Path("/etc/resolv.conf"))


def node_s(folder: Path) -> Path:
    """The file of resolvers that kubelet gives to pods that have their node's."""
    return folder / "node.conf"


def stop(plane: ControlPlane) -> None:
    """End the cluster's DNS; what is outside is still found."""
    plane.end(_INSIDE)


def start_again(plane: ControlPlane, folder: Path) -> None:
    """Have the cluster's DNS back."""
    _start(plane, folder, _INSIDE)


def put(file: Path, place: Path) -> None:
    """Have this file at a place of the machine, as seen from the sandbox alone."""
    subprocess.run(["mount", "--bind", str(file), str(place.resolve())], check=True)


def _start(plane: ControlPlane, folder: Path, name: str) -> None:
    begun = plane.log(name).count("CoreDNS-") if (plane.folder / f"{name}.log").exists() else 0
    process = plane.run(name, [program("coredns"), "-conf", str(folder / name)])
    wait_until(lambda: plane.log(name).count("CoreDNS-") > begun or process.poll() is not None, f"{name} answers", 60)
    assert process.poll() is None, plane.log(name)


def _service() -> dict[str, object]:
    """The Service of a CoreDNS that is no pod here."""
    ports = [{"name": f"dns-{protocol.lower()}", "port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")]
    meta = {"name": "kube-dns", "namespace": "kube-system"}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": meta | {"labels": {"k8s-app": "kube-dns"}}}
    endpoints = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": meta | {"labels": {"kubernetes.io/service-name": "kube-dns"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [CONTROL_PLANE]}],
        "ports": ports,
    }
    spec = {"clusterIP": CLUSTER_DNS, "ports": ports}
    return {"apiVersion": "v1", "kind": "List", "items": [service | {"spec": spec}, endpoints]}
