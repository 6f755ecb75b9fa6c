"""Which images a pod waits for in vain, as its status tells, and under which name: upstream's or the proxy's."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hooks.containers import containers, image_volumes
from kube.types import Object, entries, metadata, parse_time, part

DIRECT = "Direct"
PROXIED = "Proxied"
PATIENCE = timedelta(seconds=30)
"""How long a container has to wait for an image that cannot be pulled until that counts as waiting in vain."""

_STATUSES = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
_CANNOT_PULL = frozenset({"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable"})
"""A failed pull and the pause after it, between which kubelet goes to and fro: the same to us."""
_BEFORE_WAITING = frozenset({("Initialized", "True"), ("ContainersReady", "False")})


@dataclass(slots=True)
class Patience:
    """Tells who has waited long enough at this moment, and when to look again for the sake of those who have not."""

    now: datetime
    soonest: float = field(default=0.0, init=False)

    def is_over(self, since: datetime) -> bool:
        """Whether who has waited since then has waited long enough."""
        left = min((since + PATIENCE - self.now).total_seconds(), PATIENCE.total_seconds())
        if left > 0:
            left = max(math.ceil(left), 1)
            self.soonest = min(self.soonest or left, left)
        return left <= 0


def waited_for(pod: Object) -> Mapping[str, datetime]:
    """The images, as the pod's spec has them, that its containers cannot start without and that could not be pulled.

    Each with the moment from which on the first of them may have waited. A pod that was never scheduled waits for none.
    """
    status = part(pod, "status")
    if metadata(pod).get("deletionTimestamp") is not None:
        return {}
    entries_of = {str(entry.get("name")): (entry, why) for entry, why in _waiting(status)}
    scheduled = _scheduled(status) if entries_of else None
    if scheduled is None:
        return {}
    spec = part(pod, "spec")
    volumes = {str(volume["name"]): volume["image"] for volume in image_volumes(spec)}
    found: dict[str, datetime] = {}
    for fields in ("containers", "initContainers", "ephemeralContainers"):
        for container in entries(spec, fields):
            if str(container.get("name")) not in entries_of:
                continue
            entry, why = entries_of[str(container["name"])]
            since = max((scheduled, *_not_before(entry, status if fields == "containers" else {})))
            for image in _missing(container, volumes, why):
                found[image] = min(found.get(image, since), since)
    return found


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


def _not_before(entry: Object, status: Object) -> Iterator[datetime]:
    """Moments at which the container cannot have waited for its image yet.

    It ran until it ended; and until the pod's init containers were done, or while all of the pod's containers were
    ready, none of them waited. Ephemeral and init containers have no part in either, so no `status` is given for them.
    """
    ended = part(part(entry, "lastState"), "terminated").get("finishedAt")
    said = [one for one in entries(status, "conditions") if (one.get("type"), one.get("status")) in _BEFORE_WAITING]
    for text in (ended, *(one.get("lastTransitionTime") for one in said)):
        moment = parse_time(text)
        if moment is not None:
            yield moment


def _scheduled(status: Object) -> datetime | None:
    started = parse_time(status.get("startTime"))
    if started is not None:
        return started
    said = (one for one in entries(status, "conditions") if one.get("type") == "PodScheduled")
    return next((parse_time(one.get("lastTransitionTime")) for one in said if one.get("status") == "True"), None)
