"""Whose turn it is: of all images that want a copy, the few that may start one now."""

from collections.abc import Iterable
from dataclasses import dataclass

from hooks.progress import RUNNING, STALLED, WANTED


@dataclass(frozen=True, slots=True)
class Candidate:
    """One CachedImage as stage 3 has left it. `copy` is its `status.copy`; a new one has no status yet and wants one.

    `admitted` says that it has its turn already, `cached` that it was copied before, `waiting` that pods wait for it.
    """

    name: str
    copy: str
    admitted: bool = False
    cached: bool = False
    waiting: bool = False
    used: bool = True

    @property
    def _rank(self) -> tuple[bool, bool, bool, bool, bool, str]:
        """The lowest comes first: who copies, who may already, who never was cached, whom pods wait for."""
        return (self.copy != RUNNING, not self.admitted, self.cached, not self.waiting, not self.used, self.name)


def turns(candidates: Iterable[Candidate], most: int) -> frozenset[str]:
    """The names of those that may copy now: at most `most`, besides copies that run already.

    Copies whose pod does not start hand their turns on, as many as there are turns and no more: what keeps one pod from
    starting may keep all, and then they would all start at once. They keep what they have, and start when they can.
    """
    wanting = list(candidates)
    running = [one.name for one in wanting if one.copy == RUNNING]
    stalled = [one.name for one in wanting if one.copy == STALLED]
    waiting = sorted((one for one in wanting if one.copy == WANTED), key=lambda one: one._rank)
    free = max(0, most - len(running) - max(0, len(stalled) - most))
    return frozenset((*running, *stalled, *(one.name for one in waiting[:free])))
