"""A cluster of a given size as people fill it: namespaces, workloads with their pods, pull secrets, CronJobs."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.cluster.rig.api import Object
from tests.cluster.rig.workloads import namespace, service_account

STUCK = "stuck"
"""The label of pods whose image cannot be pulled."""

_HOST = "registry.example.com"
_ENV = [{"name": f"SETTING_{at}", "value": "x" * 80} for at in range(40)]


@dataclass(frozen=True)
class Size:
    """How much of everything. One image in twenty is a sidecar that many workloads share."""

    namespaces: int = 200
    pods: int = 3_000
    images: int = 600

    @property
    def sidecars(self) -> int:
        return max(1, self.images // 20)

    @property
    def workloads(self) -> int:
        return self.images - self.sidecars

    def namespace(self, workload: int) -> str:
        return f"team-{workload % self.namespaces}"

    def replicas(self, workload: int) -> int:
        """The pods of a workload, which are all pods together."""
        return self.pods // self.workloads + (workload < self.pods % self.workloads)


def images(size: Size) -> frozenset[str]:
    """Every image that the workloads name."""
    own = (_image(workload) for workload in range(size.workloads))
    return frozenset((*own, *(_sidecar(at) for at in range(size.sidecars))))


def namespaces(size: Size) -> list[Object]:
    return [namespace(f"team-{at}") for at in range(size.namespaces)]


def accounts(size: Size) -> list[Object]:
    """In every second namespace what may pull has a secret for it."""
    return [service_account(f"team-{at}", "puller", "registry-login") for at in range(0, size.namespaces, 2)]


def workloads(size: Size) -> Iterator[Object]:
    """Four Deployments to each StatefulSet, each with an image of its own and a sidecar; one in fifty is stuck."""
    for at in range(size.workloads):
        private = at % size.namespaces % 2 == 0
        account = {"serviceAccountName": "puller"} if private else {}
        containers = [
            {"name": "app", "image": _image(at), "env": _ENV},
            {"name": "sidecar", "image": _sidecar(at % size.sidecars)},
        ]
        labels = {"app": f"app-{at}", **({STUCK: "true"} if at % 50 == 1 else {})}
        template = {"metadata": {"labels": labels}, "spec": {"containers": containers, **account}}
        yield _controller(size.namespace(at), at, size.replicas(at), template)


def cron_jobs(size: Size) -> Iterator[Object]:
    """One in each namespace that has a workload, with that one's image."""
    for at in range(min(size.namespaces, size.workloads)):
        pod = {"containers": [{"name": "run", "image": _image(at)}], "restartPolicy": "Never"}
        spec = {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": {"spec": pod}}}}
        meta = {"namespace": size.namespace(at), "name": "nightly"}
        yield {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": meta, "spec": spec}


def _controller(ns: str, at: int, replicas: int, template: dict[str, Any]) -> Object:
    selector = {"matchLabels": {"app": f"app-{at}"}}
    spec: dict[str, Any] = {"replicas": replicas, "selector": selector, "template": template}
    kind = "StatefulSet" if at % 5 == 4 else "Deployment"
    if kind == "StatefulSet":
        spec |= {"serviceName": f"app-{at}", "podManagementPolicy": "Parallel"}
    meta = {"namespace": ns, "name": f"app-{at}"}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": meta, "spec": spec}


def _image(at: int) -> str:
    return f"{_HOST}/team/app-{at}:1.{at}"


def _sidecar(at: int) -> str:
    return f"docker.io/library/sidecar-{at}:2"
