"""One round of the keeper after another: removes what is to go, collects garbage, and tells how its volume stands."""

import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from hooks.facts import Known
from hooks.volumes import WHOLE, reports
from kube.client import KubernetesError
from kube.types import Object, annotations, metadata, part
from kuik.keeper.cluster import Cluster
from kuik.keeper.history import History
from kuik.keeper.kept import Place, kept, named
from kuik.keeper.memory import Memory
from kuik.keeper.removal import Removal
from kuik.keeper.report import IDLE, STOPPED, WAITING, SweepState, VolumeReport, key_of, worth_saying
from kuik.keeper.sweep import CONFIRM, Verdict, asked_about, judge, places_of, unwanted, words
from kuik.keeper.tally import Tally
from kuik.keeper.terms import Terms
from kuik.keeper.volume import Volume
from kuik.keeper.writer import NotCollectable, Writer
from registry.attached import subject_of
from registry.errors import NotFound, RegistryError

_log = logging.getLogger("kuik.keeper")

SETTLES = 60.0
"""Seconds that garbage waits for more of it, so that many removals cost one collection."""
APART = 600.0
"""Seconds between two collections, while which nobody can write."""
COLLECTED_EVERY = timedelta(days=1)
"""What tags named before they moved is garbage too, which nobody tells."""
LONGEST_COLLECTION = 3600.0
_RESTS = 10.0
"""Seconds after a round that failed."""
_MEASURE_EVERY = 300.0


@dataclass
class Pace:
    """When what was done last, by a monotonic clock in seconds; `garbage` since when there is some to collect, `seen`
    when a sweep last saw everything, `apart` how long the next collection waits for, `confirmed` what a person wrote
    of a stopped sweep that this process has looked at."""

    swept: float | None = None
    seen: float | None = None
    failed: float | None = None
    slept: float | None = None
    measured: float | None = None
    collected: float | None = None
    apart: float = APART
    garbage: float | None = None
    confirmed: str = ""


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

    def __post_init__(self) -> None:
        self._removal = Removal(self.name, self.cluster, self._remove, self.now)

    def tick(self) -> None:
        """Do what is due. What fails is logged and tried again; only OSError of the writer's start gets out."""
        if not self.cluster.synced or not self._is_time(self._pace.failed, _RESTS):
            return
        try:
            if not self.memory.own():
                self._sleepily("another keeper has this volume: nothing is removed here until it is gone")
                return
            cache = self.cluster.cache()
            terms = Terms.read(cache)
            if self._said == (None, None) and self.report == VolumeReport():
                self.report = VolumeReport.told(annotations(cache or {}).get(key_of(self.name)))
            self._removal.grant(self.monotonic())
            if self._is_time(self._pace.swept, terms.sweep_every) or self._confirmed(cache):
                self._pace.swept = self.monotonic()
                self.sweep(terms)
            self.collect()
            self.tell(terms)
        except (KubernetesError, RegistryError) as error:
            self._pace.failed = self.monotonic()
            self.tally.failed()
            _log.warning("%s", error)

    def _confirmed(self, cache: Object | None) -> bool:
        """Whether a person has just said that the stopped sweep may go on."""
        said = annotations(cache or {}).get(CONFIRM, "")
        if said == self._pace.confirmed:
            return False
        self._pace.confirmed = said
        return self.report.sweep.confirm in words(said)

    def sweep(self, terms: Terms) -> None:
        """Look which tags stand for nothing, and remove those that did so for the grace."""
        found = self._unwanted()
        if found is None:
            return
        loose, total, confirmed = found
        measured = self.monotonic() - self._pace.seen if self._pace.seen is not None else None
        history = self.memory.history().after(loose, self.now(), terms.sweep_every, measured)
        self.memory.keep(history)
        self._pace.seen = self.monotonic()
        verdict = judge(history.due(terms.grace), total, confirmed, history.confirmed)
        removed = self._swept(verdict.remove, history, confirmed=bool(verdict.token)) if verdict.remove else 0
        self._tell_of(verdict, waiting=len(loose) - removed)
        self.report = replace(self.report, tags=total - removed, removed=removed or self.report.removed)

    def _swept(self, due: frozenset[Place], history: History, *, confirmed: bool) -> int:
        """Remove what is due, after a last look: what is wanted again stays, and so does what anything names that runs
        or is to run, though it has no CachedImage. How many tags went."""
        in_use = self.cluster.in_use()
        if not isinstance(in_use, Known):
            _log.warning("nothing is swept: %s", getattr(in_use, "why", ""))
            return 0
        again = self._unwanted(named(in_use.value))
        removable = due & again[0] if again else frozenset()
        if not removable:
            return 0
        removed = self._remove(removable)
        self.memory.keep(history.without(removable, confirmed=confirmed))
        _log.info("swept: %d tags that stood for no CachedImage", removed)
        self.cluster.say("Swept", f"{self.name}: {removed} tags removed", once=f"swept-{self.name}-{self.now():%s}")
        return removed

    def _unwanted(self, used: frozenset[Place] = frozenset()) -> tuple[frozenset[Place], int, str] | None:
        """The tags that stand for nothing, how many there are, and what a person confirmed; None where that is in
        doubt. `used` are tags that stay in any case. Raises KubernetesError, RegistryError."""
        repositories = {place.repository for place in kept(self.cluster.images(), self.now())}
        tags = self.volume.tags(repositories)  # before the CachedImages: what is copied meanwhile is not seen
        listed = self.cluster.listed()
        if listed is None or _doubtful(listed.cache, listed.images):
            _log.warning("nothing is swept: there is no ImageCache, or its CachedImages are missing")
            return None
        there = places_of(tags)
        stay = kept(listed.images, self.now()) | used
        attached = {repository: self._attached(repository, there, stay) for repository in asked_about(there - stay)}
        return frozenset(unwanted(there, stay, attached)), len(there), annotations(listed.cache).get(CONFIRM, "")

    def _attached(self, repository: str, there: Collection[Place], stay: Collection[Place]) -> frozenset[str]:
        """What may have something attached to it that stays with it; all, where that cannot be told."""
        tags = {one.tag for one in there if one.repository == repository}
        attached = {tag: subject for tag in tags if (subject := subject_of(tag))}
        try:
            return self.volume.attached_to(
                repository, (tag for tag in tags if Place(repository, tag) in stay), attached
            )
        except NotFound:
            return frozenset(attached.values())

    def _tell_of(self, verdict: Verdict, waiting: int) -> None:
        state = STOPPED if verdict.stopped else WAITING if waiting else IDLE
        due = len(verdict.due) if verdict.stopped else waiting
        sweep = SweepState(state, due, verdict.total, verdict.token if verdict.stopped else "", verdict.message)
        if verdict.stopped and self.report.sweep.confirm != verdict.token:
            _log.warning("%s", verdict.message)
            self.cluster.say("SweepStopped", verdict.message, once=f"stopped-{verdict.token}", warning=True)
        self.tally.swept(waiting, stopped=verdict.stopped)
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
        if not self._is_time(pace.collected, pace.apart):
            return
        settled = pace.garbage is not None and self.monotonic() - pace.garbage >= self.settles
        if not settled and at is not None and timedelta() <= self.now() - at < COLLECTED_EVERY:
            return
        if at is None and not settled:
            self.memory.collected(self.now())  # a new volume has no garbage yet
            return
        self._collect()

    def _collect(self) -> None:
        before = self.volume.room(None, anew=True).used
        self._pace.collected, self._pace.garbage = self.monotonic(), None
        try:
            done = self.writer.collect(LONGEST_COLLECTION, self.ends)
        except NotCollectable as error:
            _log.error("%s", error)
            return
        after = self.volume.room(None, anew=True).used
        freed = max(0, before - after) if before is not None and after is not None else None
        self.tally.collected(done.seconds, freed or 0, failed=bool(done.problem))
        if done.problem:
            self._pace.apart = min(self._pace.apart * 2, COLLECTED_EVERY.total_seconds())
            problem = f"{self.name}: garbage could not be collected: {done.problem}"
            _log.error("%s", problem)
            self.cluster.say("CollectionFailed", problem, once=f"collect-{self.name}-{self.now():%s}", warning=True)
            self.report = replace(self.report, problem=problem)
            return
        self._pace.apart = APART
        self.memory.collected(self.now())
        self.report = replace(self.report, freed=freed, collected_at=self.now(), problem="")
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
        if self._is_time(self._pace.slept, 60):
            self._pace.slept = self.monotonic()
            _log.warning("%s", message)


def _doubtful(cache: Object, images: Sequence[Object]) -> bool:
    """Whether the cache says that it has images, and none is listed; or is on its way out itself."""
    count = part(cache, "status").get("images")
    if metadata(cache).get("deletionTimestamp"):
        return True
    return not images and isinstance(count, int) and count > 0


def _whole(image: Object, volume: str) -> bool:
    said = reports(image).get(volume)
    return said is not None and said.state == WHOLE and bool(metadata(image).get("name"))
