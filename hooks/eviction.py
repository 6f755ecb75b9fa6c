"""Which images that nobody uses leave before their retention is over: the least recently needed first, and no more than
it takes.

An image that was told to leave is counted as gone from then on, so that room which is coming is not made twice. Doubt
tells none to leave; what is told already is taken back while nobody has acted on it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hooks.quotas import Account

EVICTED = "Evicted"
OVER_QUOTA = "OverQuota"
SETTLED = 900.0
"""Seconds for which an image must have been unused to leave for room: longer than an inventory is late."""


@dataclass(frozen=True, slots=True)
class Unused:
    """An image that may leave: nothing uses it, nobody retains it, and the pods themselves were looked at.

    `since` is in seconds before now; `told` is what it was told before, empty for nothing.
    """

    name: str
    since: float
    size: int
    namespaces: frozenset[str] = frozenset()
    told: str = ""

    @property
    def settled(self) -> bool:
        return self.since >= SETTLED


def leaving(unused: Iterable[Unused], excess: int, kept: Mapping[str, Account]) -> Mapping[str, str]:
    """The names of the images that are to leave, each with its reason.

    `excess` is how many bytes the fullest volume is to lose; `kept` what the namespaces with a quota have.
    """
    order = sorted(unused, key=lambda one: (-one.since, one.name))
    left = {name: account.used - account.most for name, account in kept.items()}
    told = {one.name: one.told for one in order if one.told}
    for one in order:
        if one.told:
            excess -= one.size
            left.update({name: left[name] - one.size for name in one.namespaces if name in left})
    for one in order:
        if one.told or not one.settled or not one.size:
            continue
        over = any(left.get(name, 0) > 0 for name in one.namespaces)
        if excess <= 0 and not over:
            continue
        told[one.name] = EVICTED if excess > 0 else OVER_QUOTA
        excess -= one.size
        left.update({name: left[name] - one.size for name in one.namespaces if name in left})
    return told
