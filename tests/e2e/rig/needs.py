"""What a real node needs of the machine, and who does not have it is told so."""

import os
import subprocess
from pathlib import Path

from tests.rig.built import cache
from tests.rig.processes import find

PROGRAMS = {
    "ip": "iproute2",
    "nft": "nftables",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "setpriv": "util-linux",
    "runc": "runc",
    "busybox": "busybox-static",
    "buildah": "buildah",
    "debootstrap": "debootstrap",
    "docker-registry": "docker-registry",
    "htpasswd": "apache2-utils",
    "sysctl": "procps",
}
"""Programs of the machine, and the Debian package of each."""
_CNI = Path("/usr/lib/cni/ptp")
_BUILT = {
    "control-plane": ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl"),
    "node": ("kubelet", "kube-proxy", "kube-scheduler"),
    "dns": ("coredns",),
    "helm": ("helm",),
    "registry": ("registry",),
    "containerd": ("containerd2/containerd", "containerd2/ctr", "containerd2/containerd-shim-runc-v2"),
}


def missing() -> list[str]:
    """What is not here, in words; empty where everything is."""
    found = [f"{name}: Debian package {package}" for name, package in PROGRAMS.items() if not find(name)]
    if not _CNI.exists():
        found.append(f"{_CNI}: Debian package containernetworking-plugins")
    for part, programs in _BUILT.items():
        if not all((cache() / program).exists() for program in programs):
            found.append(f"{', '.join(programs)}: `tests/rig/build {part}`")
    return found or _rights()


def _rights() -> list[str]:
    if os.geteuid() != 0:
        return ["root: it makes namespaces, mounts and cgroups"]
    tried = ["unshare", "--pid", "--fork", "--mount", "--net", "--mount-proc", "sh", "-c"]
    script = "ip link add kuik0 type veth peer name kuik1 && mount -t tmpfs none /mnt && nft add table ip kuik"
    done = subprocess.run([*tried, script], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return [f"the right to make namespaces, links, mounts and packet filters: {done.stderr.strip()}"]
    groups = Path("/sys/fs/cgroup")
    if not os.access(groups, os.W_OK) and not any(os.access(one, os.W_OK) for one in groups.glob("*/")):
        return [f"the right to make cgroups: {groups} cannot be written"]
    return []
