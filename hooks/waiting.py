"""Which images a pod waits for in vain, as its status tells, and under which name: upstream's or the proxy's."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hooks.containers import containers, image_volumes
from kube.types import Object, entries, metadata, parse_time, part

DIRECT = "Direct"
PROXIED = "Proxied"
PATIENCE = timedelta(seconds=30)
"""How long after it was scheduled a pod that cannot pull counts as waiting in vain."""

_STATUSES = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
_CANNOT_PULL = frozenset({"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable"})
"""A failed pull and the pause after it, between which kubelet goes to and fro: the same to us."""


@dataclass(slots=True)
class Patience:
    """Tells who has waited long enough at this moment, and when to look again for the sake of those who have not."""

    now: datetime
    soonest: float = field(default=0.0, init=False)

    def is_over(self, pod: Object) -> bool:
        """Whether the pod was scheduled long enough ago; one that was never scheduled waits for no image."""
        since = _scheduled(pod)
        if since is None:
            return False
        left = min((since + PATIENCE - self.now).total_seconds(), PATIENCE.total_seconds())
        if left > 0:
            left = max(math.ceil(left), 1)
            self.soonest = min(self.soonest or left, left)
        return left <= 0


def waited_for(pod: Object) -> frozenset[str]:
    """The images, as the pod's spec has them, that its containers cannot start without and that could not be pulled."""
    status = part(pod, "status")
    if metadata(pod).get("deletionTimestamp") is not None:
        return frozenset()
    waiting = {str(entry.get("name")): why for entry, why in _waiting(status)}
    if not waiting:
        return frozenset()
    spec = part(pod, "spec")
    volumes = {str(volume["name"]): volume["image"] for volume in image_volumes(spec)}
    return frozenset(
        image
        for fields in ("containers", "initContainers", "ephemeralContainers")
        for container in entries(spec, fields)
        if str(container.get("name")) in waiting
        for image in _missing(container, volumes, waiting[str(container["name"])])
    )


def waiting_containers(pod: Object) -> frozenset[str]:
    """The names of the containers that cannot start because their own image could not be pulled; none that runs."""
    waiting = {str(entry.get("name")): why for entry, why in _waiting(part(pod, "status"))}
    spec = part(pod, "spec")
    volumes = {str(volume["name"]): volume["image"] for volume in image_volumes(spec)}
    return frozenset(
        name
        for _, _, container in containers(spec)
        if (name := str(container.get("name"))) in waiting
        and set(_missing(container, volumes, waiting[name])) == {container["image"]}
    )


def _waiting(status: Object) -> Iterator[tuple[Object, str]]:
    for statuses in _STATUSES:
        for entry in entries(status, statuses):
            waiting = part(part(entry, "state"), "waiting")
            if str(waiting.get("reason")) in _CANNOT_PULL:
                yield entry, str(waiting.get("message") or "")


def _missing(container: Object, volumes: dict[str, str], message: str) -> Iterator[str]:
    """The image volumes named in quotes by kubelet's message, which fail the container that mounts them; or its own."""
    mounted = {volumes.get(str(mount.get("name"))) for mount in entries(container, "volumeMounts")}
    named = [image for image in mounted if image and f'"{image}"' in message]
    if named:
        yield from named
    elif isinstance(container.get("image"), str):
        yield container["image"]


def _scheduled(pod: Object) -> datetime | None:
    status = part(pod, "status")
    started = parse_time(status.get("startTime"))
    if started is not None:
        return started
    said = (one for one in entries(status, "conditions") if one.get("type") == "PodScheduled")
    return next((parse_time(one.get("lastTransitionTime")) for one in said if one.get("status") == "True"), None)
