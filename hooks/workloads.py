"""Who uses an image: the pods of a namespace and the templates that will make pods, by their top controller."""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from hooks.containers import MIRROR, has_ended
from hooks.facts import Groups
from hooks.jobs import POD_LABELS
from hooks.messages import Resource
from hooks.resources import CRON_JOB, DAEMON_SET, DEPLOYMENT, POD, POLICY, SERVICE_ACCOUNT, STATEFUL_SET
from hooks.rules import images_of
from hooks.shape import Path, misshapen
from kube.types import Object, annotations, entries, labels, metadata, owner, part

_TEMPLATE = ("spec", "template", "spec")
_PATHS = {CRON_JOB: ("spec", "jobTemplate", *_TEMPLATE)}
TEMPLATES = (DEPLOYMENT, STATEFUL_SET, DAEMON_SET, CRON_JOB)
_OF_JOBS = frozenset({"copy", "rescue", "prefetch", "drill"})
_CRON_RUN = re.compile(r"(.+)-([0-9]{8})")  # the CronJob controller adds the scheduled time in minutes
_MINUTES = range(25_000_000, 60_000_000)  # 2017 to 2084; a date such as 20260101 is none of them
_MAX_USER = 320  # a pod's owner reference may say anything
_MAX_SECRET = 253
_HASH_LABEL = "pod-template-hash"


@dataclass(frozen=True, slots=True)
class Workload:
    """A pod, or the template of pods to come.

    `user` is its top controller, such as `Deployment/web`; `kind` is the controller's kind as policies name it.
    `unread` is a field that cannot be read, so that images may be missed; empty where there is none.
    """

    user: str
    kind: str
    pod: Object
    secrets: tuple[str, ...]
    unread: str = ""

    @property
    def spec(self) -> Object:
        return part(self.pod, "spec")


def workloads(related: Groups) -> Iterator[Workload]:
    """Everything in a namespace that uses images, or will."""
    accounts = {metadata(account)["name"]: account for account in related[SERVICE_ACCOUNT.group].values()}
    crons = {metadata(cron)["name"] for cron in related[CRON_JOB.group].values()}
    for user, kind, pod, unread in _pods(related, crons):
        yield Workload(user[:_MAX_USER], kind, pod, _secrets(part(pod, "spec"), accounts), unread)
    for policy in related[POLICY.group].values():
        listed = images_of(policy, POLICY.kind)
        spec = {"containers": [{"name": image, "image": image} for image in listed]}
        yield Workload(_user(POLICY.kind, policy), POLICY.kind, {"spec": spec}, secrets_of(accounts.values()))


def secrets_of(accounts: Iterable[Object]) -> tuple[str, ...]:
    """The pull secrets of all of a namespace's accounts: any of them may open what its team lists ahead of need."""
    named = (entry.get("name") for account in accounts for entry in entries(account, "imagePullSecrets"))
    return tuple(sorted({name for name in named if isinstance(name, str) and 0 < len(name) <= _MAX_SECRET}))


def _user(kind: str, obj: Object) -> str:
    return f"{kind}/{metadata(obj)['name']}"


def _pods(related: Groups, crons: set[str]) -> Iterator[tuple[str, str, Object, str]]:
    for resource in TEMPLATES:
        path = _PATHS.get(resource, _TEMPLATE)
        for obj in related[resource.group].values():
            yield _user(resource.kind, obj), resource.kind, template(resource, obj), misshapen(obj, path)
    for pod in related[POD.group].values():
        if not has_ended(pod) and not _copies(pod):
            yield top_controller(pod, crons), owner_kind(pod), pod, misshapen(pod, ("spec",))


def template(resource: Resource, obj: Object) -> Object:
    """The template `{metadata, spec}` of the pods that an object of one of TEMPLATES makes."""
    path: Path = _PATHS.get(resource, _TEMPLATE)
    for name in path[:-1]:
        obj = part(obj, name)
    return obj


def _copies(pod: Object) -> bool:
    """Whether the pod is of a Job or a prefetch of kuik's own: counted, each would change its namespace's inventory."""
    found = labels(pod)
    ours = found.get("app.kubernetes.io/name") == POD_LABELS["app.kubernetes.io/name"]
    return ours and str(found.get("app.kubernetes.io/component")) in _OF_JOBS


def top_controller(pod: Object, crons: Collection[str]) -> str:
    """The workload that a pod belongs to, told from the pod alone and the names of the namespace's CronJobs.

    A static pod's mirror is owned by its node; it is a workload of its own.
    """
    reference = owner(pod)
    if reference is None or MIRROR in annotations(pod):
        return f"{POD.kind}/{metadata(pod).get('name', '')}"  # a new pod may have none yet
    kind, name = str(reference.get("kind")), str(reference.get("name"))
    if kind == "ReplicaSet":
        suffix = f"-{labels(pod).get(_HASH_LABEL)}"
        return f"Deployment/{name.removesuffix(suffix)}" if name.endswith(suffix) else f"ReplicaSet/{name}"
    if kind == "Job":
        run = _cron_of(name)
        return f"CronJob/{run}" if run in crons else f"Job/{name}"
    return f"{kind}/{name}"


def owner_kind(pod: Object) -> str:
    """The kind of the workload that a pod belongs to, told from the pod alone, so that admission says the same."""
    kind, _, name = top_controller(pod, ()).partition("/")
    return CRON_JOB.kind if kind == "Job" and _cron_of(name) else kind


def _cron_of(job: str) -> str | None:
    """The CronJob that makes Jobs of such a name."""
    run = _CRON_RUN.fullmatch(job)
    return run[1] if run and int(run[2]) in _MINUTES else None


def _secrets(spec: Object, accounts: dict[str, Object]) -> tuple[str, ...]:
    account = accounts.get(str(spec.get("serviceAccountName") or "default"), {})
    named = entries(spec, "imagePullSecrets") + entries(account, "imagePullSecrets")
    names = (entry.get("name") for entry in named)
    return tuple(name for name in names if isinstance(name, str) and 0 < len(name) <= _MAX_SECRET)
