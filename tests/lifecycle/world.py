"""A cluster in memory with the real stages, the real keeper on model volumes, an upstream, and people who do things.

What never happens is checked after every deed (`check`), and what must come true in the end after a time without
trouble (`rest`).
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import orjson

from hooks.facts import ImageFacts, Known, Unknown
from hooks.last_look import all_in_use
from hooks.messages import answer, customize
from hooks.removal import leaves
from hooks.stages import STAGES
from hooks.volumes import PREFIX, reports
from kube.types import API_VERSION, Key, Object, format_time, metadata, parse_time, part
from kuik.driver.troubles import HookFailed, SyncsFailed
from kuik.keeper.cluster import Listed
from kuik.keeper.keeper import Keeper
from registry.proxied import DEFAULT_PROXY
from tests.cluster.rig.workloads import cron_job, deployment, image_cache, namespace, pod
from tests.lifecycle.registry import GIB, ModelMemory, ModelVolume, ModelWriter, place_of
from tests.scenarios.hooks import Hooks
from tests.scenarios.looped import Memory

HUB = "docker.io/library"
PINNED = f"{HUB}/pinned@sha256:" + "f" * 64
IMAGES = (*(f"{HUB}/{name}:1" for name in ("a", "b", "c")), PINNED)
NAMESPACES = ("one", "two")
VOLUMES = ("v0", "v1")
HOUR = 3600.0
_SECOND = timedelta(seconds=1)
_CACHE = ("ImageCache", "default")


class Broken(AssertionError):
    """Something happened that never does."""


class Direct(Hooks):
    """The stages without HTTP between; `failing` names those that answer 500."""

    failing_stages: frozenset[str] = frozenset()

    def sync(self, stage: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        if stage in self.failing_stages:
            raise HookFailed(f"{stage} fails as told")
        edge = self._edge
        said: Mapping[str, Any] = orjson.loads(
            orjson.dumps(answer(STAGES[stage], request, edge.context(), edge.gather))
        )
        return said

    def customize(self, stage: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        return customize(STAGES[stage], request)


class Scene(Memory):
    """Objects in memory under those stages."""

    def __init__(self) -> None:
        super().__init__()
        self.hooks = Direct(self.clock, self.every)
        self.start()

    def annotate(self, kind: str, name: str, annotations: Mapping[str, str | None]) -> None:
        """A merge patch of annotations."""
        found = self.shelf.get(Key(API_VERSION, kind, "", name))
        if found is None:
            return
        kept = {**(metadata(found).get("annotations") or {}), **annotations}
        kept = {key: value for key, value in kept.items() if value is not None}
        self._objects.put({**found, "metadata": {**found["metadata"], "annotations": kept}})


@dataclass
class _Cluster:
    """What kuik.keeper.cluster.Cluster is to the keeper."""

    scene: Scene
    synced: bool = True

    @property
    def changes(self) -> int:
        return self.scene.shelf.revision

    def images(self) -> list[Object]:
        return self.scene.every("CachedImage")

    def cache(self) -> Object | None:
        return self.scene.find(*_CACHE)

    def listed(self) -> Listed | None:
        cache = self.cache()
        return Listed(cache, tuple(self.images())) if cache else None

    def in_use(self) -> Known[frozenset[str]] | Unknown:
        blind = self.scene.hooks.world.blind
        return Unknown(blind) if blind else Known(all_in_use(self.scene.every, DEFAULT_PROXY))

    def annotate_image(self, name: str, annotations: Mapping[str, str | None]) -> None:
        self.scene.annotate("CachedImage", name, annotations)

    def annotate_cache(self, annotations: Mapping[str, str | None]) -> None:
        self.scene.annotate(*_CACHE, annotations)

    def say(self, *_said: object, **_more: object) -> None:
        """Nobody listens."""


class World:
    """Everything, and what was promised so far: `held` are images in use with the volumes that hold them."""

    def __init__(self) -> None:
        self.scene = Scene()
        self.volumes = {name: ModelVolume(name) for name in VOLUMES}
        self.memories = {name: ModelMemory() for name in VOLUMES}
        self.monotonic = 0.0
        self.upstream: dict[str, str | None] = {image: digest_of(image, 0) for image in IMAGES}
        self.upstream[PINNED] = PINNED.partition("@")[2]
        self.published: dict[str, set[str]] = {image: {str(self.upstream[image])} for image in IMAGES}
        self.upstream_up = True
        self.held: dict[str, dict[str, str]] = {}
        self.objects: dict[str, str] = {}
        self.anchors: set[tuple[str, str, str]] = set()
        self.forced: set[str] = set()
        self.terms = {"keeper": {"grace": "2h", "sweepEvery": "1h", "verifyEvery": "7d"}, "capacity": {}}
        self.start_keepers()
        self.scene.apply(self.cache(), *(namespace(name) for name in NAMESPACES))
        self.calm()

    def cache(self) -> Object:
        return image_cache("1d", refresh={"mode": "Sync", "interval": "1h"}, **self.terms)

    # What happens by itself.

    def start_keepers(self) -> None:
        """New processes, which know what their volumes remember."""
        cluster: Any = _Cluster(self.scene)
        self.keepers = {name: self._keeper(name, cluster) for name in VOLUMES}

    def _keeper(self, name: str, cluster: Any) -> Keeper:
        volume: Any = self.volumes[name]
        memory: Any = self.memories[name]
        writer: Any = ModelWriter(self.volumes[name])
        clock = self.scene.clock.now
        return Keeper(name, cluster, volume, memory, writer, now=clock, monotonic=lambda: self.monotonic)

    def calm(self) -> None:
        """Let the stages come to rest, as far as they can."""
        facts = {
            image: ImageFacts(upstream=Known(digest) if self.upstream_up else Unknown("down"))
            for image, digest in self.upstream.items()
        }
        self.scene.hooks.world.images.update(facts)
        if self.scene.hooks.failing_stages:  # type: ignore[attr-defined]
            try:
                self.scene.driver.settle()
            except SyncsFailed:
                return
        self.scene._rest()

    def copies(self, *, killed: bool = False) -> None:
        """Every copy Job that runs comes to its end."""
        for image in self.scene.every("CachedImage"):
            named = image["spec"]["image"]
            for job in self.scene.jobs(named):
                if not (job.get("status") or {}).get("conditions"):
                    self._copy(named, job, killed=killed)

    def _copy(self, image: str, job: Object, *, killed: bool) -> None:
        digest = self.upstream[image]
        up = [one for one in self.volumes.values() if one.up and not one.full]
        if not self.upstream_up or not up:
            reason = "Unreachable" if not self.upstream_up else "StoreFull"
            return self._end(job, {"reason": reason, "message": "as told"})
        if digest is None:
            return self._end(job, {"reason": "NotFound", "message": "as told"})
        if killed:
            for one in up:
                one.whole.add((place_of(image).repository, digest))
            return self.scene.end(job, failed=True)
        for one in up:
            one.copied(image, digest)
        volumes = {f"{one.name}.registry:5000": "ok" if one in up else "Unreachable" for one in self.volumes.values()}
        found = {"digest": digest, "size": GIB, "platforms": ["linux/amd64"], "visibility": "Public"}
        return self._end(job, {**found, "volumes": volumes})

    def _end(self, job: Object, result: Mapping[str, Any]) -> None:
        self.scene.end(job, {"kuik.dev/result": json.dumps(result)}, failed="reason" in result)

    def keep(self) -> None:
        """One look of every keeper at its volume: what it holds is told, what lacks comes from its sibling."""
        for name, keeper in self.keepers.items():
            if self.volumes[name].up:
                keeper.tick()
                self.check()  # before anything is healed
                self._tell(self.volumes[name])

    def _tell(self, volume: ModelVolume) -> None:
        for image in self.scene.every("CachedImage"):
            said = reports(image).get(volume.name)
            shown = {one["volume"]: one["state"] for one in part(image, "status").get("replicas") or ()}
            if said and said.state == "Removed" and leaves(image):
                continue
            place, digest = place_of(image["spec"]["image"]), str(part(image, "status").get("digest") or "")
            self._fill(volume, image["spec"]["image"], digest)
            there = volume.holds(place)
            state = "Whole" if there else "Damaged" if place in volume.tags_there else "Missing"
            if not there and not digest:
                continue
            found = there or digest
            told = said is not None and (said.state, said.digest) == (state, found)
            if told and (found != digest or shown.get(volume.name) == state):
                continue
            self.scene.clock.ahead += _SECOND
            at = format_time(self.scene.clock.now())
            report = {"at": at, "digest": found, "state": state}
            self.scene.annotate(
                "CachedImage", image["metadata"]["name"], {f"{PREFIX}{volume.name}": json.dumps(report)}
            )

    def _fill(self, volume: ModelVolume, image: str, digest: str) -> None:
        place = place_of(image)
        if volume.holds(place) or volume.full or not digest:
            return
        if any(one.up and one.holds(place) == digest for one in self.volumes.values() if one is not volume):
            volume.copied(image, digest)

    def hours(self, count: int) -> None:
        """Time passes, and everybody does what is due."""
        for _ in range(count):
            self.scene.advance(HOUR)
            self.monotonic += HOUR
            self.calm()
            self.copies()
            self.calm()
            self.keep()
            self.check()
        self.calm()

    # What never happens.

    def used(self) -> frozenset[str]:
        """The images that pods, templates and policies of the cluster name now."""
        wished = [
            image for one in self.scene.every("ClusterCachePolicy") for image in part(one, "spec").get("images", ())
        ]
        return all_in_use(self.scene.every, DEFAULT_PROXY) | frozenset(wished)

    def check(self) -> None:
        """Nothing in use has gone, nothing was mixed up; then see what there is to be lost from now on."""
        used = self.used()
        there = {one["spec"]["image"]: one for one in self.scene.every("CachedImage")}
        self._nothing_left(there, used)
        for image, found in there.items():
            digest = part(found, "status").get("digest")
            self._must(not digest or digest in self.published[image], f"{image} has a digest that it never had")
            spec = part(found, "spec")
            self._must(not (spec.get("remove") and spec.get("retain")), f"{image} is retained and told to leave")
        for volume in self.volumes.values():
            for place, digest in volume.tags_there.items():
                if not place.tag.startswith("digest-"):
                    image = f"{place.repository}:{place.tag}"
                    self._must(digest in self.published[image], f"{image} names another image on {volume.name}")
        self._note(there, used)

    def _nothing_left(self, there: Mapping[str, Object], used: frozenset[str]) -> None:
        for image, holders in self.held.items():
            for name in holders if image in used - self.forced else ():
                self._must(self.volumes[name].holds(place_of(image)), f"{image} is in use and left volume {name}")
        for image in self.objects.keys() & used:
            self._must(image in there, f"the CachedImage of {image} went although it is in use")
        for name, image, digest in self.anchors:
            if image in there and self._is_earlier(there[image], digest):
                held = self.volumes[name].holds(place_of(image, digest))
                self._must(held, f"{digest[:14]} of {image} left volume {name} before its time")

    def _note(self, there: Mapping[str, Object], used: frozenset[str]) -> None:
        notes = ((image, metadata(one).get("annotations") or {}) for image, one in there.items())
        self.forced = {image for image, noted in notes if noted.get("kuik.dev/remove") == "force"}
        self.objects = {image: one["metadata"]["uid"] for image, one in there.items() if image in used}
        self.held = {
            image: {one.name: one.holds(place_of(image)) for one in self.volumes.values() if one.holds(place_of(image))}
            for image in used & (there.keys() | self.held.keys())
        }
        self.anchors = {
            (volume.name, image, earlier["digest"])
            for image, one in there.items()
            for earlier in part(one, "status").get("previousDigests") or ()
            for volume in self.volumes.values()
            if volume.holds(place_of(image, earlier["digest"]))
        }

    def _is_earlier(self, image: Object, digest: str) -> bool:
        now = self.scene.clock.now()
        found = part(image, "status").get("previousDigests") or ()
        return any(one["digest"] == digest and (until := parse_time(one["until"])) and until > now for one in found)

    def _must(self, holds: object, what: str) -> None:
        if not holds:
            raise Broken(what)

    def rest(self) -> None:
        """All troubles end, and a day passes: what the cluster says is so, and what is in use is cached."""
        self.scene.hooks.failing_stages = frozenset()  # type: ignore[attr-defined]
        self.scene.hooks.world.blind = ""
        self.upstream_up = True
        for volume in self.volumes.values():
            volume.up, volume.full = True, False
        if self.scene.find(*_CACHE) is None:
            self.scene.apply(self.cache())
        self.hours(4)
        for image in self.scene.every("CachedImage"):
            self._is_true(image)
        self.scene.settle()
        for name in self.used():
            one = self.scene.image(name)
            self._must(one, f"{name} is in use and has no CachedImage")
            assert one
            if self.upstream[name] is not None:
                self._must(part(one, "status").get("phase") == "Cached", f"{name} can be copied and is not cached")
                self._must(part(one, "status").get("digest") == self.upstream[name], f"{name} was not followed")
            self._must(not part(one, "spec").get("unusedSince"), f"{name} is in use and dated as unused")

    def _is_true(self, image: Object) -> None:
        status, named = part(image, "status"), image["spec"]["image"]
        cached = status.get("phase") == "Cached"
        held = [one.name for one in self.volumes.values() if one.holds(place_of(named)) == status.get("digest")]
        self._must(not cached or held, f"{named} counts as cached, and no volume holds it")


def excuse(world: World, image: str, volumes: Iterable[str] = VOLUMES) -> None:
    """Whatever is lost of this image now is somebody's deed, and no fault of kuik's."""
    for name in volumes:
        world.held.get(image, {}).pop(name, None)
        world.anchors = {one for one in world.anchors if (one[0], one[1]) != (name, image)}


def digest_of(image: str, version: int) -> str:
    return "sha256:" + f"{IMAGES.index(image):x}" * 8 + f"{version:056x}"


def workload(kind: str, where: str, name: str, image: str) -> Object:
    """A workload of a kind that names an image."""
    makes: Mapping[str, Callable[[str, str, str], Object]] = {"Deployment": deployment, "CronJob": cron_job, "Pod": pod}
    return makes[kind](where, name, image)
