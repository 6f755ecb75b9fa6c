"""Many pods of many images, created at once on one node, and what came of them."""

import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.cluster.rig.api import Object
from tests.cluster.rig.workloads import namespace, pod
from tests.e2e.rig.cluster import Cluster
from tests.e2e.rig.images import runnable
from tests.rig.processes import wait_until

_AT_ONCE = 20
_OFTEN = 0.5
_FAILURES = ("Failed", "BackOff", "ErrImagePull")


class Crowd:
    """`pods` pods of `images` images on one node, with `size` bytes of their own in each image."""

    def __init__(self, cluster: Cluster, node: str, *, pods: int, images: int, size: int, name: str = "crowd") -> None:
        self._plane = cluster.plane
        self._node = cluster.named(node)
        self._upstream = cluster.upstreams["docker.io"]
        self._pods = pods
        self._size = size
        self.name = name
        self.images = [f"{name}-{number}" for number in range(images)]

    def push(self) -> set[str]:
        """Put the images upstream; returns the digests of their blobs which nothing else has."""
        built = [runnable(name, size=self._size) for name in self.images]
        for name, image in zip(self.images, built, strict=True):
            self._upstream.push(image, f"library/{name}", "1")
        counted = Counter(str(digest) for image in built for digest in image.blobs)
        return {digest for digest, often in counted.items() if often == 1}

    def come(self, where: str, **labels: str) -> "Arrival":
        """Create all pods in the new namespace `where`, which has these labels (`_` for `/`)."""
        self._plane.kubectl("create", "-f", "-", stdin=json.dumps(namespace(where, **labels)))
        wait_until(lambda: self._has_account(where), f"{where} has its account", 60)
        arrival = Arrival(self, where)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(lambda made: self._create(where, made), self._made(where)))
        return arrival

    def leave(self, where: str) -> None:
        """Delete the namespace with its pods, and their images from the node."""
        self._plane.kubectl("delete", "pods", "--all", "-n", where, "--wait=false", "--grace-period=1")
        wait_until(lambda: not self.objects(where, "pods"), f"no pods are left in {where}", 120)
        self._plane.kubectl("delete", "namespace", where, "--wait=false")
        self._node.remove_images(f"/{self.name}-")
        assert not [name for name in self._node.images() if f"/{self.name}-" in name]

    def objects(self, where: str, kind: str) -> list[Object]:
        """Objects of the namespace, `kind` as in the API's paths."""
        found: list[Object] = self._plane.api.request("GET", f"api/v1/namespaces/{where}/{kind}")["items"]
        return found

    def asked(self) -> list[str]:
        """The paths of blobs of the images that upstream has given so far."""
        asked = (path for method, path, status in self._upstream.requests() if method == "GET" and status < 400)
        return [path for path in asked if f"/library/{self.name}-" in path and "/blobs/" in path]

    def _create(self, where: str, made: Object) -> None:
        self._plane.api.request("POST", f"api/v1/namespaces/{where}/pods", made)

    def _made(self, where: str) -> list[Object]:
        on: dict[str, Any] = {"nodeSelector": {"kubernetes.io/hostname": self._node.name}}
        images = [f"{self.images[number % len(self.images)]}:1" for number in range(self._pods)]
        return [
            pod(where, f"{self.name}-{number}", image, terminationGracePeriodSeconds=1, **on)
            for number, image in enumerate(images)
        ]

    def _has_account(self, where: str) -> bool:
        return self._plane.api.raw("GET", f"api/v1/namespaces/{where}/serviceaccounts/default")[0] == 200


class Arrival:
    """A crowd in one namespace, from the moment that this was made."""

    seconds: float = 0.0
    """How long it took until all ran, once they do."""

    def __init__(self, crowd: Crowd, where: str) -> None:
        self._crowd = crowd
        self._where = where
        self._begun = time.monotonic()
        self._before = len(crowd.asked())

    def all_run(self, seconds: float = 240) -> "Arrival":
        """Return once every pod runs."""
        until = time.monotonic() + seconds
        while waiting := self.waiting():
            assert time.monotonic() < until, f"{waiting} pods do not run: {self.failed()}"
            time.sleep(_OFTEN)
        self.seconds = time.monotonic() - self._begun
        return self

    def waiting(self) -> int:
        """How many pods do not run yet."""
        return sum(one["status"].get("phase") != "Running" for one in self._crowd.objects(self._where, "pods"))

    def images(self) -> list[str]:
        """The image of each pod, as the API server has it."""
        return [one["spec"]["containers"][0]["image"] for one in self._crowd.objects(self._where, "pods")]

    def failed(self) -> list[str]:
        """What kubelet's events say of pulls that failed."""
        told = ((one["reason"], one.get("message", "")) for one in self._crowd.objects(self._where, "events"))
        return [f"{reason}: {message}" for reason, message in told if reason in _FAILURES]

    def blobs(self) -> dict[str, int]:
        """How often upstream has given each blob since then."""
        return Counter(path.rpartition("/")[2] for path in self._crowd.asked()[self._before :])
