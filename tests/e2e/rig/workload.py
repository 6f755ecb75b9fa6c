"""What a user of the cluster does with pods, and what the cluster then says of them."""

import json
from collections.abc import Mapping
from typing import Any

from tests.cluster.rig.api import Object
from tests.cluster.rig.control_plane import ControlPlane
from tests.cluster.rig.workloads import pod
from tests.rig.processes import wait_until


class Workloads:
    """Pods of one namespace, each of one container unless it says otherwise."""

    def __init__(self, plane: ControlPlane, namespace: str = "default") -> None:
        self._kubectl = plane.kubectl
        self._try = plane.try_kubectl
        self.namespace = namespace

    def run(
        self,
        name: str,
        image: str,
        *,
        node: str = "",
        pull: str = "IfNotPresent",
        labels: dict[str, str] | None = None,
        **fields: Any,
    ) -> None:
        """Create a pod; with `node` on that one, with `pull` as its imagePullPolicy."""
        where: dict[str, Any] = {"nodeSelector": {"kubernetes.io/hostname": node}} if node else {}
        made = pod(self.namespace, name, image, labels=labels, terminationGracePeriodSeconds=1, **where, **fields)
        made["spec"]["containers"][0]["imagePullPolicy"] = pull
        self.create(made)

    def create(self, obj: Mapping[str, Any]) -> None:
        """Create whatever it is."""
        self._kubectl("create", "-f", "-", stdin=json.dumps(obj))

    def ready(self, name: str, seconds: int = 45) -> Object:
        """The pod once it is Ready; fails with what its events say."""
        words = ("--for=condition=Ready", f"--timeout={seconds}s", f"pod/{name}", "-n", self.namespace)
        done = self._try("wait", *words, patience=seconds + 10)
        assert done.returncode == 0, f"pod {name}: {done.stderr}\n{self.events(name)}"
        return self.pod(name)

    def pod(self, name: str) -> Object:
        """The pod as it is."""
        found: Object = json.loads(self._kubectl("get", "pod", name, "-n", self.namespace, "-o", "json"))
        return found

    def labelled(self, selector: str) -> list[Object]:
        """The pods with a label that are not about to end."""
        listed = json.loads(self._kubectl("get", "pods", "-n", self.namespace, "-l", selector, "-o", "json"))["items"]
        return [one for one in listed if "deletionTimestamp" not in one["metadata"]]

    def image(self, name: str) -> str:
        """The image of the pod's first container, as the API server has it."""
        return str(self.pod(name)["spec"]["containers"][0]["image"])

    def wait_in_vain(self, name: str) -> None:
        """Return once kubelet could not pull an image of the pod."""
        wait_until(
            lambda: bool({"ErrImagePull", "ImagePullBackOff"} & self._reasons(name)), f"{name} waits in vain", 45
        )

    def ephemeral_runs(self, name: str, container: str) -> bool:
        """Wait until an ephemeral container of the pod runs, or has run."""

        def runs() -> bool:
            found = self.pod(name)["status"].get("ephemeralContainerStatuses", ())
            return any(one["name"] == container and one["state"].keys() & {"running", "terminated"} for one in found)

        wait_until(runs, f"{container} of {name} runs", 45)
        return True

    def events(self, name: str) -> str:
        """What the pod's events say, oldest first."""
        words = (f"--field-selector=involvedObject.name={name}", "--sort-by=.lastTimestamp", "-o")
        columns = "custom-columns=REASON:.reason,MESSAGE:.message"
        return self._kubectl("get", "events", "-n", self.namespace, *words, columns)

    def delete(self, *names: str) -> None:
        """Delete pods and wait until they are gone."""
        self._kubectl("delete", "pod", "-n", self.namespace, "--wait", *names)

    def running(self) -> dict[str, tuple[str, int]]:
        """Of each container its ID and how often it was restarted: what must not change behind anybody's back."""
        pods = json.loads(self._kubectl("get", "pods", "-n", self.namespace, "-o", "json"))["items"]
        return {
            f"{one['metadata']['name']}/{status['name']}": (status.get("containerID", ""), status["restartCount"])
            for one in pods
            for status in one["status"].get("containerStatuses", ())
        }

    def _reasons(self, name: str) -> set[str]:
        status = self.pod(name)["status"]
        containers = [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]
        return {one["state"].get("waiting", {}).get("reason", "") for one in containers}
