"""Names in a cluster: CoreDNS, as clusters have it, and what this machine asks while it is in the sandbox."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.cluster.rig.control_plane import ControlPlane
from tests.e2e.rig.network import CONTROL_PLANE
from tests.rig.built import program
from tests.rig.processes import wait_until

_COREFILE = """\
cluster.local in-addr.arpa {{
  bind {address}
  kubernetes cluster.local in-addr.arpa {{
    kubeconfig {kubeconfig}
    ttl 1
  }}
}}
. {{
  bind {address}
  hosts {{
{hosts}
  }}
}}
"""
_RESOLV = f"""\
nameserver {CONTROL_PLANE}
search svc.cluster.local cluster.local
"""


def serve(plane: ControlPlane, folder: Path, hosts: Mapping[str, str]) -> None:
    """Answer for services and for these hosts (name to address); it ends with the control plane."""
    folder.mkdir(parents=True)
    lines = "\n".join(f"    {address} {name}" for name, address in hosts.items())
    corefile = folder / "Corefile"
    corefile.write_text(_COREFILE.format(address=CONTROL_PLANE, kubeconfig=plane.kubeconfig(), hosts=lines))
    process = plane.run("coredns", [program("coredns"), "-conf", str(corefile)])
    resolv = folder / "resolv.conf"
    resolv.write_text(_RESOLV)
    put(resolv, Path("/etc/resolv.conf"))
    wait_until(lambda: "CoreDNS-" in plane.log("coredns") or process.poll() is not None, "CoreDNS answers", 20)
    assert process.poll() is None, plane.log("coredns")


def put(file: Path, place: Path) -> None:
    """Have this file at a place of the machine, as seen from the sandbox alone."""
    subprocess.run(["mount", "--bind", str(file), str(place.resolve())], check=True)
