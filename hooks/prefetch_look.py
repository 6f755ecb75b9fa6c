"""What kubelet says of a pod that pulls images: whether the image that its container has now is on the node.

The container's command is a path that no image has. So kubelet pulls the image and then fails to start the container:
that failure is the proof of the pull. The container's image is then changed to the next one, and kubelet tells of both
in the same words: its status lags, it goes on with the old container for a moment, and containerd gives images other
names. What tells them apart is a container that was not there before.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from kube.types import Object, entries, metadata, part

CONTAINER = "image"
_NOT_PULLED = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
"""kubelet's reasons (pkg/kubelet/images/types.go) for a container whose image is not there."""

_NOT_CREATED = frozenset({"CreateContainerConfigError", "CreateContainerError"})
"""Its reasons after the pull where no container came to be: CRI-O looks for the command before it makes one."""

_NOT_STARTED = frozenset({"RunContainerError", "StartError", "CrashLoopBackOff", "PostStartHookError"})
_AGAIN = 2
"""Containers: kubelet starts a pod's first one anew at once, and waits ten seconds before others. So one more may still
be of the image before, also in a status of the newest generation; the second is not.
"""


class Outcome(Enum):
    """How the pull of the container's image stands; ENDED is a pod of which nothing more is to be expected."""

    PENDING = "Pending"
    PULLED = "Pulled"
    FAILED = "Failed"
    ENDED = "Ended"


@dataclass(frozen=True, slots=True)
class Before:
    """What a pod's status said when its container was given its image; nothing for a new pod's first one."""

    fresh: bool = True
    containers: frozenset[str] = frozenset()
    image_id: str = ""
    restarts: int = 0
    reason: str = ""

    @classmethod
    def of(cls, pod: Object) -> "Before":
        """From what the status says now."""
        status = _status(pod)
        return cls(False, _containers(status), _text(status, "imageID"), _restarts(status), _reason(status))

    @classmethod
    def read(cls, said: Object) -> "Before":
        """As `written` wrote it."""
        names = said.get("containers")
        return cls(
            said.get("fresh") is not False,
            frozenset(one for one in names if isinstance(one, str)) if isinstance(names, list) else frozenset(),
            _text(said, "imageID"),
            _restarts({"restartCount": said.get("restarts")}),
            _text(said, "reason"),
        )

    def written(self) -> Mapping[str, Any]:
        """For the pod's annotation."""
        if self.fresh:
            return {}
        said = {"containers": sorted(self.containers), "imageID": self.image_id, "reason": self.reason}
        return {"fresh": False, "restarts": self.restarts, **{name: one for name, one in said.items() if one}}


@dataclass(frozen=True, slots=True)
class Look:
    """What a pod's status means. With `anew`, only another pod can tell of the next image."""

    outcome: Outcome
    message: str = ""
    anew: bool = field(default=False)


_PENDING = Look(Outcome.PENDING)


def look(pod: Object, before: Before) -> Look:
    """Whether the image that the pod's container has is on the node."""
    said = part(pod, "status")
    if said.get("phase") in ("Failed", "Succeeded"):
        return Look(Outcome.ENDED, f"the pod ended: {said.get('reason') or said['phase']} {said.get('message') or ''}")
    if _is_older(pod):
        return _PENDING
    status, image = _status(pod), image_of(pod)
    waiting = part(part(status, "state"), "waiting")
    reason, message = _reason(status), _text(waiting, "message")
    if reason in _NOT_PULLED:
        ours = before.fresh or names(message, image)
        return Look(Outcome.FAILED, f"{reason}: {message}") if ours else _PENDING
    return _first(status, reason) if before.fresh else _later(status, reason, before)


def image_of(pod: Object) -> str:
    """The image of the container that pulls."""
    found = (one for one in entries(part(pod, "spec"), "containers") if one.get("name") == CONTAINER)
    return _text(next(found, {}), "image")


def names(message: str, image: str) -> bool:
    """Whether a message is about an image, and not about one whose name begins or ends like that."""
    return re.search(rf"(?<![\w./:@-]){re.escape(image)}(?![\w/@-]|[.:]\w)", message) is not None


def _first(status: Object, reason: str) -> Look:
    if _containers(status) or reason in _NOT_STARTED:
        return Look(Outcome.PULLED)
    return Look(Outcome.PULLED, anew=True) if reason in _NOT_CREATED else _PENDING


def _later(status: Object, reason: str, before: Before) -> Look:
    if reason in _NOT_CREATED and reason != before.reason:
        return Look(Outcome.PULLED, anew=True)
    return Look(Outcome.PULLED) if _is_new(status, before) else _PENDING


def _is_new(status: Object, before: Before) -> bool:
    """Whether there is a container of this image, and not one more of the image before.

    Of names nothing follows: two of one digest stand for each other, in `image` and before the digest in `imageID`.
    """
    if not _containers(status) - before.containers:
        return False
    digest = _digest(_text(status, "imageID"))
    another = bool(digest) and digest != _digest(before.image_id)
    return another or _restarts(status) >= before.restarts + _AGAIN


def _digest(image_id: str) -> str:
    return image_id.rpartition("@")[2]


def _is_older(pod: Object) -> bool:
    """Whether the status is about an earlier spec, where the cluster says so (since Kubernetes 1.33)."""
    seen, now = part(pod, "status").get("observedGeneration"), metadata(pod).get("generation")
    return isinstance(seen, int) and isinstance(now, int) and seen < now


def _status(pod: Object) -> Object:
    listed: Iterable[Object] = entries(part(pod, "status"), "containerStatuses")
    return next((one for one in listed if one.get("name") == CONTAINER), {})


def _containers(status: Object) -> frozenset[str]:
    """The containers that a status knows, by their id."""
    places = [status, *(part(part(status, name), one) for name in ("state", "lastState") for one in _STATES)]
    return frozenset(found for place in places if (found := _text(place, "containerID")))


_STATES = ("running", "terminated")


def _reason(status: Object) -> str:
    return _text(part(part(status, "state"), "waiting"), "reason")


def _restarts(status: Object) -> int:
    found = status.get("restartCount")
    return found if isinstance(found, int) else 0


def _text(obj: Object, name: str) -> str:
    found = obj.get(name)
    return found if isinstance(found, str) else ""
