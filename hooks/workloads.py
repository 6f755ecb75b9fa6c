"""Who uses an image: the pods of a namespace and the templates that will make pods, by their top controller."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from hooks.containers import MIRROR
from hooks.facts import Groups
from hooks.jobs import POD_LABELS
from hooks.resources import CRON_JOB, DAEMON_SET, DEPLOYMENT, POD, SERVICE_ACCOUNT, STATEFUL_SET
from kube.types import Object, annotations, entries, labels, metadata, owner, part

TEMPLATES = (DEPLOYMENT, STATEFUL_SET, DAEMON_SET, CRON_JOB)
_FINISHED = frozenset({"Succeeded", "Failed"})
_CRON_RUN = re.compile(r"(.+)-[0-9]{8,10}")  # the CronJob controller adds the scheduled time in minutes
_MAX_USER = 320  # a pod's owner reference may say anything
_MAX_SECRET = 253
_HASH_LABEL = "pod-template-hash"


@dataclass(frozen=True, slots=True)
class Workload:
    """A pod, or the template of pods to come. `user` is its top controller, such as `Deployment/web`."""

    user: str
    pod: Object
    secrets: tuple[str, ...]

    @property
    def spec(self) -> Object:
        return part(self.pod, "spec")


def workloads(related: Groups) -> Iterator[Workload]:
    """Everything in a namespace that uses images, or will."""
    accounts = {metadata(account)["name"]: account for account in related[SERVICE_ACCOUNT.group].values()}
    crons = {metadata(cron)["name"] for cron in related[CRON_JOB.group].values()}
    for user, pod in _pods(related, crons):
        yield Workload(user[:_MAX_USER], pod, _secrets(part(pod, "spec"), accounts))


def _pods(related: Groups, crons: set[str]) -> Iterator[tuple[str, Object]]:
    for resource in TEMPLATES:
        for obj in related[resource.group].values():
            spec = part(obj, "spec")
            holder = part(part(spec, "jobTemplate"), "spec") if resource is CRON_JOB else spec
            yield f"{resource.kind}/{metadata(obj)['name']}", part(holder, "template")
    for pod in related[POD.group].values():
        if part(pod, "status").get("phase") not in _FINISHED and not _copies(pod):
            yield top_controller(pod, crons), pod


def _copies(pod: Object) -> bool:
    """Whether the pod is a copy Job's own: counted, each copy would change the inventory of kuik's namespace twice."""
    return POD_LABELS.items() <= labels(pod).items()


def top_controller(pod: Object, crons: set[str]) -> str:
    """The workload that a pod belongs to, told from the pod alone and the names of the namespace's CronJobs.

    A static pod's mirror is owned by its node; it is a workload of its own.
    """
    reference = owner(pod)
    if reference is None or MIRROR in annotations(pod):
        return f"Pod/{metadata(pod)['name']}"
    kind, name = str(reference.get("kind")), str(reference.get("name"))
    if kind == "ReplicaSet":
        suffix = f"-{labels(pod).get(_HASH_LABEL)}"
        return f"Deployment/{name.removesuffix(suffix)}" if name.endswith(suffix) else f"ReplicaSet/{name}"
    if kind == "Job":
        run = _CRON_RUN.fullmatch(name)
        return f"CronJob/{run[1]}" if run and run[1] in crons else f"Job/{name}"
    return f"{kind}/{name}"


def _secrets(spec: Object, accounts: dict[str, Object]) -> tuple[str, ...]:
    account = accounts.get(str(spec.get("serviceAccountName") or "default"), {})
    named = entries(spec, "imagePullSecrets") + entries(account, "imagePullSecrets")
    names = (entry.get("name") for entry in named)
    return tuple(name for name in names if isinstance(name, str) and 0 < len(name) <= _MAX_SECRET)
