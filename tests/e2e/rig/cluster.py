"""A cluster in the sandbox: control plane, DNS, upstream registries, and nodes on demand."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.cluster.rig.control_plane import ControlPlane, ForNodes
from tests.e2e.rig import names
from tests.e2e.rig.images import archive, runnable
from tests.e2e.rig.network import CONTROL_PLANE, make_bridge
from tests.e2e.rig.node import PAUSE, Node
from tests.rig.authority import Authority
from tests.rig.built import program
from tests.rig.upstream import Known, Upstream

UPSTREAMS = {"docker.io": ("registry-1.docker.io", "10.88.0.2"), "private.example": ("private.example", "10.88.0.3")}
"""Registries as images name them: the host that is asked, and its address here."""
PRIVATE = "private.example"
"""The registry that asks everybody for USER and PASSWORD."""
USER, PASSWORD = "team", "correct-horse-battery"
_MOST_NODES = 5


@dataclass
class Cluster:
    """`start` boots the control plane; `node(N, ...)` boots a node. All of it ends with the sandbox."""

    folder: Path
    plane: ControlPlane = field(init=False)
    authority: Authority = field(init=False)
    upstreams: dict[str, Upstream] = field(default_factory=dict)
    nodes: dict[int, Node] = field(default_factory=dict)
    seconds: float = 0.0

    def start(self) -> Self:
        begun = time.monotonic()
        self.authority = Authority(self.folder / "authority")
        make_bridge(names.OUTSIDE, names.MACHINE, *(address for _, address in UPSTREAMS.values()))
        admin = self.authority.issue("kube-apiserver", group="system:masters")
        nodes = ForNodes(CONTROL_PLANE, [f"node-{number}" for number in range(1, _MOST_NODES + 1)], *admin)
        self.plane = ControlPlane(self.folder / "control-plane", nodes=nodes).start()
        # What asks by TLS in the sandbox trusts the sandbox's authority alone.
        names.put(self.authority.bundle, Path("/etc/ssl/certs/ca-certificates.crt"))
        names.serve(self.plane, self._names, dict(UPSTREAMS.values()))
        for name, (host, address) in UPSTREAMS.items():
            known = Known(host, address, self.authority.bundle, *self.authority.issue(host))
            account = (USER, PASSWORD) if name == PRIVATE else ("", "")
            self.upstreams[name] = Upstream(self.folder / name, *account, port=443, known=known).start()
        archive(runnable("pause"), PAUSE, self.folder / "pause.tar")
        self.seconds = time.monotonic() - begun
        return self

    def node(self, number: int, *images: Path) -> Node:
        """Boot node `number` with these images loaded."""
        resolvers = names.node_s(self._names)
        node = Node(number, self.plane, self.folder / f"node-{number}", self.authority.bundle, resolvers)
        self.nodes[number] = node.start(self.folder / "pause.tar", *images)
        return node

    @contextmanager
    def without_dns(self) -> Iterator[None]:
        """The cluster's DNS is dead meanwhile; what is outside is found as before."""
        names.stop(self.plane)
        try:
            yield
        finally:
            names.start_again(self.plane, self._names)

    @property
    def _names(self) -> Path:
        return self.folder / "dns"

    def helm(self, *words: str) -> str:
        """What helm prints; fails with its own words."""
        homes = {name: str(self.folder / "helm") for name in ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME")}
        command = [program("helm"), f"--kubeconfig={self.plane.kubeconfig()}", *words]
        environment = os.environ | homes
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
        assert done.returncode == 0, f"helm {' '.join(words)}: {done.stderr}{done.stdout}"
        return done.stdout

    def named(self, name: str) -> Node:
        """The node of that name."""
        return next(node for node in self.nodes.values() if node.name == name)


def folder() -> Path:
    """The folder of this run; raises KeyError outside of a sandbox."""
    return Path(os.environ["KUIK_E2E_FOLDER"])
