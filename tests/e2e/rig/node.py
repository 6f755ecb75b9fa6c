"""One node: containerd, kubelet and kube-proxy in a network namespace; folders, sockets and cgroups are its own."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import yaml

from tests.cluster.rig.api import Object
from tests.cluster.rig.control_plane import ControlPlane
from tests.e2e.rig.names import CLUSTER_DNS
from tests.e2e.rig.network import Place, join, leave
from tests.e2e.rig.sandbox import cgroup, hierarchies
from tests.rig.built import cache, program
from tests.rig.processes import wait_until

PAUSE = "pause.rig/pause:1"
"""The image of pods' sandboxes, which is loaded and not pulled."""
_CONTAINERD = """\
version = 3
root = "{folder}/containerd"
state = "/run/containerd-{name}"
[grpc]
  address = "{socket}"
[ttrpc]
  address = "{socket}.ttrpc"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{pause}"
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = "{certificates}"
[plugins."io.containerd.cri.v1.runtime"]
  # runc may not change it without CAP_SYS_RESOURCE, which many containers of CI lack.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{folder}/cni"
"""


@dataclass
class Node:
    """Node `number` of a control plane. `start` returns when its kubelet says that it is Ready."""

    number: int
    plane: ControlPlane
    folder: Path
    authority: Path
    """The CA (PEM) of who may ask kubelet, as `kubectl logs` does through the API server."""
    resolvers: Path
    """The file of resolvers (resolv.conf) of pods that have their node's."""
    dns: str = CLUSTER_DNS
    place: Place = field(init=False)
    seconds: float = 0.0

    @property
    def name(self) -> str:
        return f"node-{self.number}"

    @property
    def certificates(self) -> Path:
        """The folder in which containerd looks for what it should know of a registry's host.

        All nodes of a sandbox have the same, as they have one file system.
        """
        return self.folder.parent / "etc-containerd" / "certs.d"

    def start(self, *images: Path) -> Self:
        """Boot with these images (archives) loaded."""
        begun = time.monotonic()
        self.folder.mkdir(parents=True)
        self.certificates.mkdir(parents=True, exist_ok=True)
        self.place = join(self.number, self.folder / "cni")
        self._start_containerd()
        for image in images:
            self.ctr("images", "import", "--local", str(image))
        self._start_kubelet()
        self._start_kube_proxy()
        wait_until(self.ready, f"{self.name} is ready", 60)
        self.seconds = time.monotonic() - begun
        return self

    def stop(self) -> None:
        """Take the node away as a machine that fails: its pods go on until the sandbox ends, reached by nobody."""
        for part in ("kube-proxy", "kubelet", "containerd"):
            self.plane.end(self._process(part))
        leave(self.place)

    def lose_power(self) -> None:
        """Kill all that runs on the node, all at once; its disk stays, and what was in memory alone is gone."""
        names = [self._process(part) for part in ("kubelet", "containerd", "kube-proxy")]
        for pid in {*(self.plane.pid(name) for name in names), *self._shims(), *self._in_pods()}:
            _kill(pid)
        for name in names:
            self.plane.end(name)
        wait_until(lambda: not self._in_pods(), f"nothing runs on {self.name}", 30)
        in_memory = [f"/run/containerd-{self.name}", f"/run/cni-{self.place.namespace}"]
        _unmount_below(*in_memory, f"{self.folder}/kubelet")
        for place in in_memory:
            shutil.rmtree(place, ignore_errors=True)

    def boot(self) -> None:
        """Start what runs on a node by itself, and return; pods come back when they can."""
        self._start_containerd()
        self._start_kubelet()
        self._start_kube_proxy()

    def ready(self) -> bool:
        """Whether the API server believes the node Ready."""
        code, text = self.plane.api.raw("GET", f"api/v1/nodes/{self.name}")
        conditions = json.loads(text)["status"].get("conditions", []) if code == 200 else []
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

    def ctr(self, *words: str) -> str:
        """What containerd's own client prints."""
        command = [str(cache() / "containerd2" / "ctr"), "--address", self._socket, "--namespace", "k8s.io", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, f"ctr {' '.join(words)}: {done.stderr}"
        return done.stdout

    def images(self) -> list[str]:
        """Names of the images on the node, without those by which only their configuration is known."""
        return [name for name in self.ctr("images", "ls", "-q").split() if not name.startswith("sha256:")]

    def remove_images(self, *parts: str) -> None:
        """Remove every image whose name has one of these parts, with its layers."""
        found = [name for name in self.ctr("images", "ls", "-q").split() if any(part in name for part in parts)]
        configs = [line.split()[0] for line in self.ctr("images", "ls").splitlines() if line.startswith("sha256:")]
        digests = {self._target(name) for name in found}
        found += [name for name in configs if self._target(name) in digests]
        if found:
            self.ctr("images", "rm", "--sync", *sorted(set(found)))

    def process_of(self, pod: Object, container: str) -> dict[str, str]:
        """What the kernel says of a container's first process, as /proc/PID/status has it."""
        found = pod["status"]["containerStatuses"]
        (identity,) = (one["containerID"].partition("://")[2] for one in found if one["name"] == container)
        rows = (line.split() for line in self.ctr("tasks", "ls").splitlines())
        pid = next(row[1] for row in rows if row[0] == identity)
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

    def log(self, part: str) -> str:
        """What kubelet, containerd or kube-proxy has said."""
        return self.plane.log(self._process(part))

    def _shims(self) -> list[int]:
        """The processes between containerd and its containers."""
        return [pid for pid, command in _commands() if b"shim" in command and self._socket.encode() in command]

    def _in_pods(self) -> list[int]:
        group = f"{cgroup(self.folder.parent)}/{self.name}"
        files = (file for place in hierarchies() for file in (place / group).rglob("cgroup.procs"))
        return [int(word) for file in files for word in _words(file)]

    def _target(self, name: str) -> str:
        listed = self.ctr("images", "ls", f"name=={name}").splitlines()
        return next((word for line in listed[1:] for word in line.split()[1:] if word.startswith("sha256:")), "")

    @property
    def _socket(self) -> str:
        return f"/run/containerd-{self.name}.sock"

    def _process(self, part: str) -> str:
        return f"{self.name}-{part}"

    def _run(self, part: str, *command: str) -> None:
        self.plane.run(self._process(part), self.place.inside(*command))

    def _start_containerd(self) -> None:
        config = self.folder / "containerd.toml"
        places = {"folder": self.folder, "certificates": self.certificates, "socket": self._socket}
        config.write_text(_CONTAINERD.format(**places, name=self.name, pause=PAUSE))
        programs = cache() / "containerd2"
        path = f"PATH={programs}:/usr/sbin:/usr/bin:/sbin:/bin"
        self._run("containerd", "env", path, str(programs / "containerd"), "--config", str(config))
        wait_until(self._answers, f"containerd of {self.name} answers", 30)

    def _answers(self) -> bool:
        try:
            return bool(self.ctr("version"))
        except AssertionError:
            return False

    def _start_kubelet(self) -> None:
        group = f"/{cgroup(self.folder.parent)}/{self.name}"
        for hierarchy in hierarchies():
            (hierarchy / group[1:]).mkdir(parents=True, exist_ok=True)
            _inherit(hierarchy / group[1:])
        config = self.folder / "kubelet.yaml"
        config.write_text(yaml.safe_dump(self._kubelet(group)))
        user = self.plane.kubeconfig(self.name, f"kubelet-of-{self.name}")
        labels = "kubernetes.io/os=linux"
        self._run(
            "kubelet",
            program("kubelet"),
            f"--config={config}",
            f"--kubeconfig={user}",
            f"--root-dir={self.folder}/kubelet",
            f"--cert-dir={self.folder}/kubelet-certificates",
            f"--hostname-override={self.name}",
            f"--node-ip={self.place.address}",
            f"--node-labels={labels}",
        )

    def _kubelet(self, group: str) -> dict[str, Any]:
        thresholds = ("memory.available", "nodefs.available", "nodefs.inodesFree", "imagefs.available")
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "containerRuntimeEndpoint": f"unix://{self._socket}",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": group,
            "failSwapOn": False,
            "failCgroupV1": False,
            "clusterDNS": [self.dns],
            "clusterDomain": "cluster.local",
            "resolvConf": str(self.resolvers),
            "serializeImagePulls": False,
            # By default kubelet itself fails the pulls of a crowd: it begins 5 a second.
            "registryPullQPS": 0,
            "maxPods": 250,
            "podLogsDir": f"{self.folder}/pod-logs",
            "volumePluginDir": f"{self.folder}/volume-plugins",
            "evictionHard": dict.fromkeys(thresholds, "0%"),
            "imageGCHighThresholdPercent": 100,
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(self.authority)},
            },
            "authorization": {"mode": "Webhook"},
            "healthzPort": 10248,
            "port": 10250,
            "nodeStatusUpdateFrequency": "2s",
            "shutdownGracePeriod": "0s",
        }

    def _start_kube_proxy(self) -> None:
        document = {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "hostnameOverride": self.name,
            "clusterCIDR": "10.244.0.0/16",
            "clientConnection": {"kubeconfig": str(self.plane.kubeconfig("kube-proxy", "kube-proxy-of-the-rig"))},
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        }
        config = self.folder / "kube-proxy.yaml"
        config.write_text(yaml.safe_dump(document))
        self._run("kube-proxy", program("kube-proxy"), f"--config={config}")


def _commands() -> Iterator[tuple[int, bytes]]:
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            yield int(folder.name), (folder / "cmdline").read_bytes()


def _words(file: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return file.read_text().split()
    return []


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _unmount_below(*places: str) -> None:
    mounted = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for mount in reversed(mounted):
        if any(mount.startswith(f"{place}/") for place in places):
            subprocess.run(["umount", "--lazy", mount], check=True)


def _inherit(group: Path) -> None:
    """In version 1 a new cgroup has no CPUs and no memory nodes by itself."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        for folder in (group.parent, group):
            file, above = folder / name, folder.parent / name
            if file.exists() and above.exists() and not file.read_text().strip():
                file.write_text(above.read_text())
