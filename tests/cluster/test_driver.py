"""The product's own loop beside the real Metacontroller: the same CachedImages for the same objects."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from hooks.facts import Context, Settings
from hooks.messages import answer, customize
from hooks.stages import STAGES
from kube.schema import defaulted
from kuik.driver.controllers import load
from kuik.driver.loop import Driver
from kuik.driver.objects import Objects
from tests.cluster.rig.cluster import Cluster
from tests.cluster.rig.workloads import cron_job, deployment, image_cache, namespace, pod, service_account

READ = ("Namespace", "Pod", "ServiceAccount", "Deployment", "StatefulSet", "DaemonSet", "CronJob")


class _Stages:
    """The stages in this process."""

    def sync(self, stage: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        return answer(STAGES[stage], request, Context(_now(), Settings()))

    def customize(self, stage: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        return customize(STAGES[stage], request)


def _now() -> datetime:
    return datetime.now(UTC)


def test_the_driver_makes_what_metacontroller_makes(cluster: Cluster) -> None:
    image = "docker.io/library/both:1"
    cluster.apply(
        namespace("both"),
        service_account("both", "puller", "one", "two"),
        deployment("both", "web", "both:1", "quay.io/x/y:2", replicas=2, serviceAccountName="puller"),
        cron_job("both", "nightly", "both:1", "busybox"),
        pod("both", "ignored", "redis:7", labels={"kuik.dev/cache": "false"}),
    )
    cluster.until(lambda: len((cluster.image(image) or {"spec": {"usedBy": []}})["spec"]["usedBy"]) == 2, "both use it")
    cluster.settle()
    objects = Objects(_now)
    for kind in READ:
        for obj in cluster.plane.api.list(kind):
            objects.put(obj)
    objects.put(defaulted(image_cache()))
    Driver(objects, load(), _Stages(), _now).settle()
    for kind in ("ImageInventory", "CachedImage"):
        made = {one["metadata"]["name"]: one for one in objects.list("kuik.dev/v1alpha1", kind)}
        real = {one["metadata"]["name"]: one for one in cluster.plane.api.list(kind) if _used(one)}
        assert made.keys() == real.keys(), kind
        assert {name: one["spec"] for name, one in made.items()} == {name: one["spec"] for name, one in real.items()}
        for name, one in made.items():
            ours = real[name]["metadata"]["labels"]
            assert one["metadata"]["labels"] == ours
    cluster.delete("namespace", "both")


def _used(obj: Mapping[str, Any]) -> bool:
    """Leave out what other tests have stopped using: how that came to be is not in the objects of now."""
    return "unusedSince" not in obj["spec"]
