"""What people and stage 2 want removed at once: looked for when it may be there, and removed from this volume."""

import logging
from collections.abc import Callable, Collection
from datetime import datetime

from hooks.facts import Known
from hooks.removal import REMOVE
from hooks.volumes import REMOVED
from kuik.keeper.cluster import Cluster
from kuik.keeper.kept import Place
from kuik.keeper.report import image_report, key_of
from kuik.keeper.wishes import Asked, Wish, asked, wishes

_log = logging.getLogger("kuik.keeper")
_SOONEST = 5.0
_FIRST = 30.0
_LONGEST = 600.0
"""Seconds between two looks at all that uses images, while the same is asked and refused."""


class Removal:
    """For the volume `name`; `remove` takes tags away, and returns how many were there. `now` dates the reports."""

    def __init__(
        self, name: str, cluster: Cluster, remove: Callable[[Collection[Place]], int], now: Callable[[], datetime]
    ) -> None:
        self._name = name
        self._cluster = cluster
        self._remove = remove
        self._now = now
        self._asked: Asked = frozenset()
        self._looked: float | None = None
        self._pause = _FIRST

    def grant(self, monotonic: float) -> None:
        """Remove what is asked for and not in use. All pods are looked at for that: so seldom while it is refused.

        Raises KubernetesError, RegistryError.
        """
        wanted = asked(self._cluster.images(), self._name)
        if not wanted or not self._is_time(wanted, monotonic):
            return
        self._pause = _FIRST if wanted != self._asked else min(self._pause * 2, _LONGEST)
        self._asked, self._looked = wanted, monotonic
        listed = self._cluster.listed()
        if listed is None:
            _log.warning("nothing is removed on demand: there is no ImageCache")
            return
        in_use = self._cluster.in_use()
        if not isinstance(in_use, Known):
            _log.warning("nothing is removed on demand: %s", getattr(in_use, "why", ""))
            return
        for wish in wishes(listed.images, self._name, in_use.value, self._now()):
            self._grant(wish)

    def _is_time(self, wanted: Asked, monotonic: float) -> bool:
        if self._looked is None:
            return True
        return monotonic - self._looked >= (self._pause if wanted == self._asked else _SOONEST)

    def _grant(self, wish: Wish) -> None:
        if wish.refused:
            once = f"refused-{wish.digest[-12:]}"
            said = f"not removed: {wish.refused}; `kuik cache remove --force` removes it all the same"
            self._cluster.say("RemovalRefused", said, once=once, image=wish.name, warning=True)
            return
        removed = self._remove(wish.places)
        said = image_report(wish.digest, REMOVED, self._now(), message="removed on demand")
        done: dict[str, str | None] = {key_of(self._name): said, **({REMOVE: None} if wish.settled else {})}
        self._cluster.annotate_image(wish.name, done)
        _log.info("removed on demand: %s (%d tags)", wish.name, removed)
