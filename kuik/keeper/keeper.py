"""One round of the keeper after another: removes what is to go, collects garbage, and tells how its volume stands."""

import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from hooks.facts import Known
from hooks.removal import REMOVE
from hooks.volumes import REMOVED, WHOLE, reports
from kube.client import KubernetesError
from kube.types import Object, annotations, metadata, part
from kuik.keeper.cluster import Cluster
from kuik.keeper.kept import Place, kept
from kuik.keeper.memory import Memory
from kuik.keeper.report import IDLE, STOPPED, WAITING, SweepState, VolumeReport, image_report, key_of, worth_saying
from kuik.keeper.sweep import CONFIRM, Verdict, asked_about, judge, places_of, unwanted
from kuik.keeper.tally import Tally
from kuik.keeper.terms import Terms
from kuik.keeper.volume import Volume
from kuik.keeper.wishes import Wish, asked, wishes
from kuik.keeper.writer import NotCollectable, Writer
from registry.errors import RegistryError

_log = logging.getLogger("kuik.keeper")

SETTLES = 60.0
"""Seconds that garbage waits for more of it, so that many removals cost one collection."""
APART = 600.0
"""Seconds between two collections, while which nobody can write."""
COLLECTED_EVERY = timedelta(days=1)
"""What tags named before they moved is garbage too, which nobody tells."""
LONGEST_COLLECTION = 3600.0
_LOOK_AT_WISHES = 30.0
_MEASURE_EVERY = 300.0


@dataclass
class Pace:
    """When what was done last, by a monotonic clock in seconds; `garbage` since when there is some to collect."""

    swept: float | None = None
    looked: float | None = None
    measured: float | None = None
    collected: float | None = None
    garbage: float | None = None
    changes: int = -1


@dataclass
class Keeper:
    """The keeper of one volume. `tick` does what is due; it is to be called every second or so, from one thread.

    `now` is the clock that dates are told by, `monotonic` the one that waits are measured by.
    """

    name: str
    cluster: Cluster
    volume: Volume
    memory: Memory
    writer: Writer
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    monotonic: Callable[[], float] = time.monotonic
    ends: Callable[[], bool] = lambda: False
    settles: float = SETTLES
    tally: Tally = field(default_factory=Tally)
    report: VolumeReport = field(default_factory=VolumeReport)
    _pace: Pace = field(default_factory=Pace)
    _said: tuple[VolumeReport | None, datetime | None] = (None, None)

    def tick(self) -> None:
        """Do what is due. What fails is logged and tried again; only OSError of the writer's start gets out."""
        if not self.cluster.synced:
            return
        try:
            if not self.memory.own():
                self._sleepily("another keeper has this volume: nothing is removed here until it is gone")
                return
            cache = self.cluster.cache()
            terms = Terms.read(cache)
            if self._said == (None, None) and self.report == VolumeReport():
                self.report = VolumeReport.told(annotations(cache or {}).get(key_of(self.name)))
            self.grant()
            if self._is_time(self._pace.swept, terms.sweep_every):
                self._pace.swept = self.monotonic()
                self.sweep(terms)
            self.collect()
            self.tell(terms)
        except (KubernetesError, RegistryError) as error:
            self.tally.failed()
            _log.warning("%s", error)

    def grant(self) -> None:
        """Remove at once what people and stage 2 want removed; look when something changed, and now and then."""
        changes = self.cluster.changes
        if changes == self._pace.changes and not self._is_time(self._pace.looked, _LOOK_AT_WISHES):
            return
        self._pace.changes, self._pace.looked = changes, self.monotonic()
        images = self.cluster.images()
        if not asked(images, self.name):
            return
        in_use = self.cluster.in_use()
        if not isinstance(in_use, Known):
            _log.warning("nothing is removed on demand: %s", getattr(in_use, "why", ""))
            return
        for wish in wishes(images, self.name, in_use.value, self.now()):
            self._grant(wish)

    def _grant(self, wish: Wish) -> None:
        if wish.refused:
            once = f"refused-{wish.digest[-12:]}"
            said = f"not removed: {wish.refused}; `kuik cache remove --force` removes it all the same"
            self.cluster.say("RemovalRefused", said, once=once, image=wish.name, warning=True)
            return
        removed = self._remove(wish.places)
        said = image_report(wish.digest, REMOVED, self.now(), message="removed on demand")
        done: dict[str, str | None] = {key_of(self.name): said, **({REMOVE: None} if wish.settled else {})}
        self.cluster.annotate_image(wish.name, done)
        _log.info("removed on demand: %s (%d tags)", wish.name, removed)

    def sweep(self, terms: Terms) -> None:
        """Look which tags stand for nothing, and remove those that did so for the grace."""
        found = self._unwanted()
        if found is None:
            return
        loose, total, confirmed = found
        history = self.memory.history().after(loose, self.now(), terms.sweep_every)
        self.memory.keep(history)
        verdict = judge(history.due(terms.grace), total, confirmed)
        removed = 0
        if verdict.remove:
            again = self._unwanted()  # what is wanted again since the first look stays
            removable = verdict.remove & again[0] if again else frozenset()
            removed = self._remove(removable)
            self.memory.keep(history.without(removable))
            _log.info("swept: %d tags that stood for no CachedImage", removed)
            self.cluster.say("Swept", f"{self.name}: {removed} tags removed", once=f"swept-{self.name}-{self.now():%s}")
        self._tell_of(verdict, waiting=len(loose) - len(verdict.remove))
        self.report = replace(self.report, tags=total - removed, removed=removed or self.report.removed)

    def _unwanted(self) -> tuple[frozenset[Place], int, str] | None:
        """The tags that stand for nothing, how many there are, and what a person confirmed; None where that is in
        doubt. Raises KubernetesError, RegistryError."""
        named = {place.repository for place in kept(self.cluster.images(), self.now())}
        tags = self.volume.tags(named)  # before the CachedImages: what is copied meanwhile is not seen
        listed = self.cluster.listed()
        if listed is None or _doubtful(listed.cache, listed.images):
            _log.warning("nothing is swept: there is no ImageCache, or its CachedImages are missing")
            return None
        there = places_of(tags)
        stay = kept(listed.images, self.now())
        attached = {
            repository: self.volume.subjects(
                repository, (one.tag for one in stay if one.repository == repository and one in there)
            )
            for repository in asked_about(there - stay)
        }
        return frozenset(unwanted(there, stay, attached)), len(there), annotations(listed.cache).get(CONFIRM, "")

    def _tell_of(self, verdict: Verdict, waiting: int) -> None:
        state = STOPPED if verdict.stopped else WAITING if waiting else IDLE
        due = len(verdict.due) if verdict.stopped else waiting
        sweep = SweepState(state, due, verdict.total, verdict.token if verdict.stopped else "", verdict.message)
        if verdict.stopped and self.report.sweep.confirm != verdict.token:
            _log.warning("%s", verdict.message)
            self.cluster.say("SweepStopped", verdict.message, once=f"stopped-{verdict.token}", warning=True)
        self.report = replace(self.report, sweep=sweep)

    def _remove(self, places: Collection[Place]) -> int:
        """Remove tags; how many were there."""
        count = 0
        if places:
            self.memory.litter()
        for place in sorted(places):
            count += self.volume.remove(place)
        self.tally.removed(count)
        return count

    def collect(self) -> None:
        """Collect garbage where there is some, or where it was not looked for since long."""
        pace, at = self._pace, self.memory.collected_at()
        if pace.garbage is None and self.memory.garbage:
            pace.garbage = self.monotonic()
        if pace.collected is not None and self.monotonic() - pace.collected < APART:
            return
        settled = pace.garbage is not None and self.monotonic() - pace.garbage >= self.settles
        if not settled and at is not None and timedelta() <= self.now() - at < COLLECTED_EVERY:
            return
        if at is None and not settled:
            self.memory.collected(self.now())  # a new volume has no garbage yet
            return
        self._collect()

    def _collect(self) -> None:
        before = self.volume.room(None).used
        self._pace.collected, self._pace.garbage = self.monotonic(), None
        try:
            done = self.writer.collect(LONGEST_COLLECTION, self.ends)
        except NotCollectable as error:
            _log.error("%s", error)
            return
        after = self.volume.room(None).used
        freed = max(0, before - after) if before is not None and after is not None else None
        self.tally.collected(done.seconds, freed or 0, failed=bool(done.problem))
        if done.problem:
            _log.error("collection of garbage: %s", done.problem)
            return
        self.memory.collected(self.now())
        self.report = replace(self.report, freed=freed, collected_at=self.now())
        self._pace.measured = None
        _log.info("collected garbage: %d blobs, %s bytes, writer away for %.1f s", done.blobs, freed, done.seconds)

    def tell(self, terms: Terms) -> None:
        """Say how the volume stands, where there is news."""
        if self._is_time(self._pace.measured, _MEASURE_EVERY):
            self._pace.measured = self.monotonic()
            room = self.volume.room(terms.capacity)
            self.report = replace(self.report, bytes=room.used, capacity=room.capacity, free=room.free)
            self.tally.room = room
        images = self.cluster.images()
        self.report = replace(self.report, images=sum(_whole(image, self.name) for image in images))
        before, at = self._said
        if self.cluster.cache() is None or not worth_saying(before, at, self.report, self.now()):
            return
        self.cluster.annotate_cache({key_of(self.name): self.report.text(self.now())})
        self._said = (self.report, self.now())

    def _is_time(self, last: float | None, every: float) -> bool:
        return last is None or self.monotonic() - last >= every

    def _sleepily(self, message: str) -> None:
        if self._is_time(self._pace.looked, 60):
            self._pace.looked = self.monotonic()
            _log.warning("%s", message)


def _doubtful(cache: Object, images: Sequence[Object]) -> bool:
    """Whether the cache says that it has images, and none is listed."""
    count = part(cache, "status").get("images")
    return not images and isinstance(count, int) and count > 0


def _whole(image: Object, volume: str) -> bool:
    said = reports(image).get(volume)
    return said is not None and said.state == WHOLE and bool(metadata(image).get("name"))
