"""A control plane of its own with kuik installed, and the hooks as a process under their service account."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.rig.control_plane import ControlPlane
from tests.cluster.rig.installed import install
from tests.rig.components import Component
from tests.scenarios.cluster import JOBS


@contextmanager
def started(folder: Path, settings: Mapping[str, str] | None = None) -> Iterator[tuple[ControlPlane, Component]]:
    """Both, ended again at the end; the API server's audit log tells who wrote what.

    `settings` are variables of the hooks.
    """
    plane = ControlPlane(folder / "plane", audited=True).start()
    hooks: Component | None = None
    try:
        install(plane)
        account = plane.kubectl("create", "token", "-n", JOBS, "kuik-hooks").strip()
        environment = {"KUIK_KUBECONFIG": str(plane.kubeconfig("kuik-hooks", account)), **(settings or {})}
        hooks = Component("hooks", ["--log-level", "debug"], folder / "hooks.log", environment=environment).start()
        yield plane, hooks
    finally:
        if hooks:
            hooks.stop()
        plane.stop()
