"""A cluster that an earlier run has left with kuik on it: brought to what chart and image are now."""

import hashlib
from collections.abc import Mapping
from typing import Any

from tests.e2e.rig.install import CHART, NAMESPACE, ROOT, Installed


def remembered(kuik: Installed) -> dict[str, Any]:
    """What a later run must know of this one."""
    return {"found_running": kuik.found_running, "images": list(kuik.images), "chart": _chart()}


def bring_up_to_date(kuik: Installed, before: Mapping[str, Any]) -> None:
    """Upgrade where the chart is another than before, and restart all of kuik where its image is."""
    kuik.found_running = before["found_running"]
    if "kuik" not in kuik.cluster.helm("list", "-q", "-n", NAMESPACE).split():
        kuik.install()
        return
    # What a scenario that failed has left.
    pods = [name for name in kuik.kubectl("get", "pods", "-o", "name").split() if name != "pod/hello"]
    kuik.kubectl("delete", "--wait", "--ignore-not-found", "--grace-period=1", "pod/none", *pods)
    other_image = before["images"] != list(kuik.images)
    if other_image:
        for node in kuik.cluster.nodes.values():
            for image in kuik.images:
                node.ctr("images", "import", "--local", str(image))
    if before["chart"] != _chart():
        kuik.helm("upgrade", "--wait", "--timeout=120s")
    if other_image:
        for kind in ("deployment", "statefulset", "daemonset"):
            kuik.kubectl("rollout", "restart", kind, "-n", NAMESPACE)
    kuik.wait_until_ready()


def _chart() -> str:
    """What names the chart's content."""
    files = sorted(path for path in (ROOT / CHART).rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
