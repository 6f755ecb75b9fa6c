"""The network of a cluster in a sandbox: one bridge, and for each node a network namespace of its own on it.

The sandbox's own namespace, 10.88.0.1, is where the control plane, DNS and upstream registries are. Node N is
10.88.0.(10 + N), its pods 10.244.N.0/24. Nothing leads out of it.
"""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

CONTROL_PLANE = "10.88.0.1"
SERVICES = "10.96.0.0/16"
_BRIDGE = "cluster0"


@dataclass(frozen=True)
class Place:
    """Where a node is: its network namespace, its address, and its pods' network."""

    number: int

    @property
    def namespace(self) -> str:
        return f"node-{self.number}"

    @property
    def address(self) -> str:
        return f"10.88.0.{10 + self.number}"

    @property
    def pods(self) -> str:
        return f"10.244.{self.number}.0/24"

    def inside(self, *command: str) -> list[str]:
        """A command as it runs in the node's network, and otherwise as here."""
        # `ip netns exec` would mount /sys anew, which hides the cgroups.
        return ["nsenter", f"--net=/run/netns/{self.namespace}", *command]


def make_bridge(*addresses: str) -> None:
    """Make the network that nodes join, where the sandbox answers at these addresses too."""
    _ip("link", "add", _BRIDGE, "type", "bridge")
    for address in (CONTROL_PLANE, *addresses):
        _ip("address", "add", f"{address}/16", "dev", _BRIDGE)
    _ip("link", "set", _BRIDGE, "up")
    _ip("route", "add", SERVICES, "dev", _BRIDGE)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def join(number: int, cni: Path) -> Place:
    """Make the network namespace of a node, and the configuration of its pods' network in the folder `cni`."""
    place = Place(number)
    outer = f"to-node-{number}"
    _ip("netns", "add", place.namespace)
    _ip("link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", place.namespace)
    _ip("link", "set", outer, "master", _BRIDGE, "up")
    for words in (
        ("link", "set", "lo", "up"),
        ("address", "add", f"{place.address}/16", "dev", "eth0"),
        ("link", "set", "eth0", "up"),
        # Services' addresses are turned into pods' after a route was found.
        ("route", "add", SERVICES, "dev", "eth0"),
        ("route", "add", "10.244.0.0/16", "via", CONTROL_PLANE),
    ):
        _ip("-n", place.namespace, *words)
    subprocess.run(place.inside("sysctl", "-qw", "net.ipv4.ip_forward=1"), check=True)
    _ip("route", "add", place.pods, "via", place.address)
    cni.mkdir(parents=True)
    (cni / "10-pods.conflist").write_text(json.dumps(_pods_network(place)))
    return place


def leave(place: Place) -> None:
    """Take a node's network away."""
    _ip("route", "del", place.pods)
    _ip("netns", "del", place.namespace)


def _pods_network(place: Place) -> dict[str, object]:
    """Links from point to point: so pods reach each other only by the node's own routing, where kube-proxy is."""
    ranges = [[{"subnet": place.pods}]]
    addresses = {"type": "host-local", "ranges": ranges, "routes": [{"dst": "0.0.0.0/0"}]}
    addresses["dataDir"] = f"/run/cni-{place.namespace}"
    plugins = [
        {"type": "ptp", "ipMasq": False, "ipam": addresses},
        {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True},
    ]
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": plugins}


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"
