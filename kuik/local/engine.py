"""Local mode's heart: manifests in, the stages around them, copies made, and what is no longer wanted removed."""

import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich.filesize import decimal

from hooks.facts import Settings
from kube.types import API_VERSION, CACHED_IMAGE, IMAGE_INVENTORY, Key, Object, entries
from kuik.copy_job import Order
from kuik.driver.controllers import load as load_controllers
from kuik.driver.loop import Driver
from kuik.driver.objects import Objects
from kuik.driver.troubles import SyncsFailed
from kuik.local.feed import Feed, Knowledge
from kuik.local.hooks import LocalHooks
from kuik.local.image_cache import spec_of
from kuik.local.jobs import JobRunner
from kuik.local.proving import Proving, lacking
from kuik.local.secrets import pull_secrets
from kuik.local.store import Store
from kuik.local.story import Story
from kuik.local.wishes import LeftAlone, Wishes
from kuik.local.workloads import cluster_objects
from proxy.shield.pins import pinned
from registry.collect import StoreBusy
from registry.copy import Progress
from registry.errors import RegistryError
from registry.manifest import Platform
from registry.reference import Reference


@dataclass(frozen=True)
class Copying:
    """How copies are made: `copy` makes one and says how it went, in the form of a Job's result.

    `release` is called when a round of copies is done, and what was only kept for them may go.
    """

    copy: Callable[[Order, Progress], Mapping[str, Any]]
    release: Callable[[], None]


class Engine:
    """Keeps the store as the manifests want it. All methods belong to one thread; copies run in others."""

    def __init__(self, store: Store, wishes: Wishes, story: Story, feed: Feed, copying: Copying) -> None:
        self._store = store
        self._wishes = wishes
        self._story = story
        self._feed = feed
        self._copier = copying.copy
        self._release = copying.release
        self.woken = threading.Event()
        """Set when a copy has ended, so that whoever waits between steps need not wait on."""
        self._objects = Objects(_now)
        self._hooks = LocalHooks(Settings(plain_http=wishes.plain_http), wishes.frozen)
        self._driver = Driver(self._objects, load_controllers(), self._hooks, _now)
        self._jobs = JobRunner(self._objects, self._copy, self.woken.set)
        self.proving = Proving(store.layout.blobs, self.woken.set)
        self._known: dict[str, str] = {}
        self._from_manifests: set[Key] = set()
        self._secrets: Mapping[str, str] = {}
        self._troubles: set[str] = set()
        self._garbage = False
        self._unwritten = ""
        self._failing: frozenset[str] = frozenset()
        for obj in store.state.load():
            self._objects.put(_trusted(obj, store))
        self._known = {obj["metadata"]["name"]: obj["spec"]["image"] for obj in self.cached_images()}
        self._spec: Mapping[str, Any] = {}
        self._objects.put(wishes.image_cache(self._spec))

    def manifests(self, manifests: Collection[Object]) -> None:
        """Take these manifests for all there are."""
        wanted = cluster_objects(manifests)
        for key in self._from_manifests - wanted.keys():
            self._objects.delete(key)
        for obj in wanted.values():
            self._objects.put(obj)
        self._from_manifests = set(wanted)
        self._spec = spec_of(manifests)
        if self._hooks.reach(self._wishes.plain_http | {entry["host"] for entry in entries(self._spec, "registries")}):
            self._driver.again()
        self._objects.put(self._wishes.image_cache(self._spec))
        found = pull_secrets(manifests)
        self._secrets = found.configs
        for error in set(found.errors) - self._troubles:
            self._story.say(f"warning  {error}")
        self._troubles = set(found.errors)

    def step(self) -> None:
        """Bring everything one step on: results in, stages settled, state kept, copies started."""
        self.woken.clear()
        ended = self._jobs.collect(_now())
        for finished in ended:
            self._story.ended(finished.image, finished.result, finished.seconds)
        if ended and not self.copying:
            self._release()
        for name in self._store.state.removed_by_others():
            self._objects.delete(Key(API_VERSION, CACHED_IMAGE, "", name))
        self._heal()
        self._settle()
        self._written(self._keep)
        images = self.cached_images()
        pins = {str(reference): str(digest) for reference, digest in pinned(images).items()}
        self._feed.tell(Knowledge(self._secrets, _secrets_by_image(images), self._spec, pins))
        self._jobs.start(self._wishes.parallel)

    @property
    def copying(self) -> bool:
        """Whether a copy is under way."""
        return self._jobs.running > 0

    def seconds_to_next(self, most: float) -> float:
        """How long nothing needs to be done, if nothing else happens; at most `most`."""
        resync = self._driver.next_resync()
        return most if resync is None else min(max((resync - _now()).total_seconds(), 0.0), most)

    def cached_images(self) -> list[Object]:
        """Every CachedImage as it is now, by name."""
        return list(self._objects.list(API_VERSION, CACHED_IMAGE))

    def left_alone(self) -> list[LeftAlone]:
        """The images that are not cached because a rule says so, by name."""
        return sorted(
            LeftAlone(entry["image"], entry["rule"], entry.get("message") or "", tuple(entry["usedBy"]))
            for inventory in self._objects.list(API_VERSION, IMAGE_INVENTORY)
            for entry in inventory["spec"]["images"]
            if entry["decision"] == "Ignore"
        )

    def _copy(self, order: Order) -> Mapping[str, Any]:
        return self._copier(order, self._story.copying(str(order.image)))

    def _heal(self) -> None:
        """Have what lost a damaged blob copied anew."""
        damaged = self.proving.found()
        for one in damaged:
            self._story.say(f"warning  blob {one.digest}: {one.problem}; it was put aside")
        why = ", ".join(str(one.digest) for one in damaged)
        for obj in self.cached_images() if damaged else ():
            if (obj.get("status") or {}).get("phase") == "Cached" and not _is_there(obj, self._store):
                self._objects.put(lacking(obj, f"damaged: {why}", _now()))

    def _settle(self) -> None:
        """Go on although a stage fails for some: nothing of theirs changes, and the next step asks again."""
        failing: frozenset[str] = frozenset()
        try:
            self._driver.settle()
        except SyncsFailed as error:
            failing = frozenset(f"{parent}: {why}" for parent, why in error.failures.items())
        for trouble in sorted(failing - self._failing):
            self._story.say(f"warning  {trouble}")
        self._failing = failing

    def _keep(self) -> None:
        """Keep the CachedImages on disk; what is gone loses its tag first, so that no crash leaves it half gone."""
        now = {obj["metadata"]["name"]: obj for obj in self.cached_images()}
        gone = {name: image for name, image in self._known.items() if name not in now}
        self._known |= {name: obj["spec"]["image"] for name, obj in now.items()}
        for name, image in gone.items():
            self._store.layout.untag(Reference.parse(image))
            self._store.state.remove(name)
            del self._known[name]
            self._garbage = True
            self._story.say(f"expired  {image}")
        for obj in now.values():
            self._store.state.save(obj)
        if self._garbage and not self.copying:
            self._collect()

    def _written(self, write: Callable[[], None]) -> None:
        """Go on serving and copying while the disk is full or read-only: the next step writes what this one cannot."""
        try:
            write()
        except (OSError, RegistryError) as error:
            trouble = f"the store {self._store.folder} cannot be written: {getattr(error, 'strerror', None) or error}"
            if trouble != self._unwritten:
                self._story.say(f"warning  {trouble}")
            self._unwritten = trouble
        else:
            self._unwritten = ""

    def _collect(self) -> None:
        try:
            collected = self._store.layout.collect(within=0)
        except StoreBusy:
            return  # another process copies into this store; the next step tries again
        except RegistryError as error:
            self._story.say(f"warning  nothing was collected: {error}")
        else:
            self._story.say(f"freed    {decimal(collected.bytes)} in {collected.blobs} blobs")
        self._garbage = False


def _now() -> datetime:
    return datetime.now(UTC)


def _trusted(obj: Object, store: Store) -> Object:
    """A CachedImage from disk, without the parts of its status that a new start should find out again.

    What failed is tried again at once, and what is said to be cached but is not all there is copied again.
    """
    status = obj.get("status") or {}
    if status.get("phase") != "Cached" or not _is_there(obj, store):
        return {name: value for name, value in obj.items() if name != "status"}
    return obj


def _is_there(obj: Object, store: Store) -> bool:
    reference = Reference.parse(obj["spec"]["image"])
    platforms = frozenset(Platform.parse(text) for text in obj["spec"].get("platforms") or ())
    try:
        found = store.layout.resolve(reference)
        return str(found and found.digest) == obj["status"].get("digest") and not store.layout.missing(
            reference, platforms
        )
    except RegistryError:
        return False


def _secrets_by_image(cached_images: Iterable[Object]) -> dict[str, list[str]]:
    return {
        obj["spec"]["image"]: [f"{s['namespace']}/{s['secret']}" for s in obj["spec"].get("pullSecrets") or ()]
        for obj in cached_images
    }
