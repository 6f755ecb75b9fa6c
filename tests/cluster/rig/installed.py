"""kuik as a cluster has it, without what runs."""

from pathlib import Path

from tests.cluster.rig.control_plane import ControlPlane

_MANIFESTS = Path(__file__).parents[3] / "metacontroller"


def install(plane: ControlPlane) -> ControlPlane:
    """Apply kuik's kinds, its namespace and its rights."""
    for name in ("namespace.yaml", "crds/", "rbac.yaml", "prefetch.yaml"):
        plane.kubectl("apply", "-f", str(_MANIFESTS / name))
    plane.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", "--all")
    return plane
