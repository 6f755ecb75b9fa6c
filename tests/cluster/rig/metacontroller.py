"""The real Metacontroller, where its binary is on this machine, calling hooks that run as a process of their own."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.rig.control_plane import DRIVER, ControlPlane
from tests.rig.processes import find, free_port

CONTROLLERS = Path(__file__).parents[3] / "metacontroller" / "controllers"
MISSING = "Metacontroller is not here: put it on PATH or name it with METACONTROLLER_BIN, its CRD file beside it"


def binary() -> Path | None:
    """Metacontroller's program, from METACONTROLLER_BIN or PATH; None where its CRD file is not beside it."""
    named = os.environ.get("METACONTROLLER_BIN") or find("metacontroller")
    path = Path(named) if named else None
    return path if path and path.exists() and _crds(path) else None


def _crds(path: Path) -> Path | None:
    return next(iter(sorted(path.resolve().parent.glob("metacontroller-crds*.yaml"))), None)


def install_crds(plane: ControlPlane) -> None:
    """Apply Metacontroller's own CRDs and wait until they are served."""
    path = binary()
    crds = _crds(path) if path else None
    assert crds, MISSING
    plane.kubectl("apply", "--server-side", "-f", str(crds))
    names = ("compositecontrollers", "decoratorcontrollers", "controllerrevisions")
    wanted = [f"crd/{name}.metacontroller.k8s.io" for name in names]
    plane.kubectl("wait", "--for=condition=Established", "--timeout=30s", *wanted)


def start(plane: ControlPlane, *more: str, inside: Sequence[str] = ()) -> None:
    """Run Metacontroller beside the control plane, fast enough for tests; it ends with the control plane.

    `more` are options that come last, and so count. `inside` are words before the command, which place it elsewhere.
    """
    path = binary()
    assert path, MISSING
    options = [
        f"--kubeconfig={plane.kubeconfig('driver', DRIVER)}",
        "--discovery-interval=500ms",
        "--client-go-qps=100",
        "--client-go-burst=200",
        f"--metrics-address=127.0.0.1:{free_port()}",
        f"--health-probe-bind-address=127.0.0.1:{free_port()}",
        "--leader-election=false",
    ]
    plane.run("metacontroller", [*inside, str(path), *options, *more])


def controllers(hooks: str, resync: int) -> str:
    """The project's controllers, calling hooks at that URL instead of the Service, with a resync in seconds."""
    documents = [yaml.safe_load(path.read_text()) for path in sorted(CONTROLLERS.glob("*.yaml"))]
    for document in documents:
        document["spec"]["resyncPeriodSeconds"] = resync
        for hook in document["spec"]["hooks"].values():
            hook["webhook"] = _calling(hooks, hook["webhook"])
    return yaml.safe_dump_all(documents)


def _calling(hooks: str, webhook: dict[str, Any]) -> dict[str, Any]:
    others = {name: value for name, value in webhook.items() if name not in ("service", "path")}
    return {**others, "url": f"{hooks}{webhook['path']}"}
