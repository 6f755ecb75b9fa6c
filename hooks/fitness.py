"""The breaker of admission: whether the node proxies are fit to be pointed to, told from their DaemonSet."""

from collections.abc import Sequence
from dataclasses import dataclass

from hooks.containers import Obstacle
from kube.types import Object, part

UNKNOWN_AFTER = 60.0
"""Seconds without a word of the API server after which nothing is known of the proxies."""
KEPT = 120.0
"""Seconds for which the last answer holds while nothing is known."""
FIT_FOR = 10.0
"""Seconds for which the proxies must be fit again before pods are pointed to them again."""

_ABSENT = Obstacle("ProxiesUnfit", "the node proxies are not installed")
_UNKNOWN = Obstacle("ProxiesUnfit", "nothing is known of the node proxies")


def unfit(daemon_sets: Sequence[Object]) -> Obstacle | None:
    """Why the proxies are not fit: more than one in ten is not ready, or there are none."""
    if not daemon_sets:
        return _ABSENT
    states = [part(one, "status") for one in daemon_sets]
    desired = sum(_count(state, "desiredNumberScheduled") for state in states)
    ready = sum(min(_count(state, "numberReady"), _count(state, "desiredNumberScheduled")) for state in states)
    if desired > 0 and (desired - ready) * 10 <= desired:
        return None
    return Obstacle("ProxiesUnfit", f"{ready} of {desired} node proxies are ready")


def _count(status: Object, field: str) -> int:
    value = status.get(field)
    return value if isinstance(value, int) and value > 0 else 0


@dataclass(frozen=True, slots=True)
class Fitness:
    """What is believed of the proxies. `why` is None while pods may be pointed to them; `since` is when they became fit
    again and are watched still."""

    why: Obstacle | None = _UNKNOWN
    since: float | None = None
    heard: bool = False

    def after(self, daemon_sets: Sequence[Object] | None, quiet: float, now: float) -> "Fitness":
        """What to believe after a look: the DaemonSets (None: never read), and how long they may be out of date.

        `quiet` and `now` are in seconds. What is bad is believed at once, what is good again after a while; only the
        first look of a process is believed either way.
        """
        if daemon_sets is None or quiet > UNKNOWN_AFTER + KEPT:
            return Fitness(_UNKNOWN, None, self.heard)
        if quiet > UNKNOWN_AFTER:
            return Fitness(self.why, None, self.heard)
        why = unfit(daemon_sets)
        if why is not None or self.why is None or not self.heard:
            return Fitness(why, None, True)
        since = now if self.since is None else self.since
        return Fitness(None if now - since >= FIT_FOR else self.why, since, True)
