"""What an ImagePrefetch says of itself."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hooks.conditions import FALSE, TRUE, Condition, sentence, stated
from hooks.prefetch_images import Images
from kube.types import Object, format_time

_MOST = 100
_ORDER = ("Failed", "Pulling", "Waiting", "Pulled")


@dataclass(frozen=True, slots=True)
class State:
    """How one node stands; `state` is Failed, Pulling, Waiting or Pulled."""

    node: str
    state: str
    pulled: int
    of: int
    at: datetime | None = None
    message: str = ""

    def written(self) -> Mapping[str, Any]:
        """For the status."""
        said: dict[str, Any] = {"node": self.node, "state": self.state, "pulled": self.pulled, "of": self.of}
        if self.at is not None:
            said["at"] = format_time(self.at)
        return {**said, "message": sentence(self.message)} if self.message else said


@dataclass(frozen=True, slots=True)
class Round:
    """What one sync found. `copying` says that the copies of the images are waited for."""

    states: Sequence[State]
    images: Images
    copying: bool = False


def status(parent: Object, told: Round, now: datetime) -> Mapping[str, Any]:
    """The counts, the nodes that matter most, and the condition Ready."""
    counted = Counter(one.state for one in told.states)
    shown = sorted(told.states, key=lambda one: (_ORDER.index(one.state), one.node))[:_MOST]
    return {
        "nodes": len(told.states),
        **{state.lower(): counted[state] for state in _ORDER},
        "states": [one.written() for one in shown],
        "conditions": [stated(parent, _ready(told, counted), now)],
    }


def _ready(told: Round, counted: Mapping[str, int]) -> Condition:
    unreadable = told.images.unreadable
    if unreadable:
        return Condition("Ready", FALSE, "InvalidReference", f"no image can have the name {unreadable[0]}")
    if not told.states:
        return Condition("Ready", TRUE, "NoNodes", "no node is meant")
    if told.copying:
        return Condition("Ready", FALSE, "Copying", "some images are copied into the cache first")
    failed = [one for one in told.states if one.state == "Failed"]
    if failed:
        message = f"{len(failed)} of {len(told.states)} nodes; {failed[0].node}: {failed[0].message}"
        return Condition("Ready", FALSE, "Failed", message)
    if counted["Pulled"] == len(told.states):
        return Condition("Ready", TRUE, "Pulled", f"all {len(told.states)} nodes have all images")
    reason = "Pulling" if counted["Pulling"] else "Waiting"
    return Condition("Ready", FALSE, reason, f"{counted['Pulled']} of {len(told.states)} nodes have all images")
