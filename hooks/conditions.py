"""Conditions in a status (Kubernetes API conventions, "Typical status properties")."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kube.types import Object, entries, format_time, metadata, part

TRUE = "True"
FALSE = "False"
UNKNOWN = "Unknown"
MAX_MESSAGE = 1024


@dataclass(frozen=True, slots=True)
class Condition:
    """What a stage says of one aspect; `status` is True, False or Unknown."""

    type: str
    status: str
    reason: str
    message: str = ""


def sentence(text: object) -> str:
    """What others say, as a message that can be written: cut, and without halves of characters, which JSON may hold."""
    return str(text)[:MAX_MESSAGE].encode("utf-8", "replace").decode()


def condition(obj: Object, name: str) -> Object | None:
    """The condition of that type in an object's status."""
    return next((found for found in entries(part(obj, "status"), "conditions") if found.get("type") == name), None)


def holds(obj: Object, name: str) -> bool:
    """Whether the object's condition of that type is True."""
    found = condition(obj, name)
    return found is not None and found.get("status") == TRUE


def stated(parent: Object, said: Condition, now: datetime) -> Mapping[str, Any]:
    """The condition as it goes into the parent's status. Its time is `now` only where its status has changed."""
    before = condition(parent, said.type)
    same = before is not None and before.get("status") == said.status
    time = before.get("lastTransitionTime") if before is not None and same else None
    generation = metadata(parent).get("generation")
    return {
        "type": said.type,
        "status": said.status,
        "reason": said.reason,
        "message": said.message[:MAX_MESSAGE],
        "lastTransitionTime": time or format_time(now),
        **({"observedGeneration": generation} if isinstance(generation, int) else {}),
    }
