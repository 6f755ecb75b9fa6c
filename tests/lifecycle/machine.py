"""What people, registries and failures do to a cluster, in any order: hypothesis finds the order that breaks it."""

from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kube.types import format_time, metadata
from tests.cluster.rig.workloads import namespace
from tests.lifecycle.registry import place_of
from tests.lifecycle.world import IMAGES, NAMESPACES, PINNED, VOLUMES, World, digest_of, excuse, workload

POLICY = {"apiVersion": "kuik.dev/v1alpha1", "kind": "ClusterCachePolicy", "metadata": {"name": "ahead"}}
KINDS = ("Deployment", "CronJob", "Pod")
STAGES = ("inventory", "imagecache", "cachedimage")

images = st.sampled_from(IMAGES)
tags = st.sampled_from([image for image in IMAGES if image != PINNED])
volumes = st.sampled_from(VOLUMES)
places = st.sampled_from(NAMESPACES)
kinds = st.sampled_from(KINDS)


class Lifecycle(RuleBasedStateMachine):
    """One World and all that may befall it."""

    @initialize(image=images, where=places)
    def begin(self, image: str, where: str) -> None:
        self.world = World()
        self.version = 0
        self.uses(where, "Deployment", image)

    @invariant()
    def nothing_happened_that_never_does(self) -> None:
        if hasattr(self, "world"):
            self.world.check()

    # Workloads come and go.

    @rule(where=places, kind=kinds, image=images)
    def uses(self, where: str, kind: str, image: str) -> None:
        if self.world.scene.find("Namespace", where) is None:
            self.world.scene.apply(namespace(where))
        self.world.scene.delete(kind, "w", where)
        self.world.scene.apply(workload(kind, where, "w", image))
        self.world.calm()

    @rule(where=places, kind=kinds, image=images)
    def uses_unseen(self, where: str, kind: str, image: str) -> None:
        """Stage 1 fails, so that the inventory goes on to say what was before."""
        self.world.scene.hooks.failing_stages = frozenset({"inventory"})  # type: ignore[attr-defined]
        self.uses(where, kind, image)

    @rule(where=places, kind=kinds)
    def leaves(self, where: str, kind: str) -> None:
        self.world.scene.delete(kind, "w", where)
        self.world.calm()

    @rule(where=places)
    def everybody_leaves(self, where: str) -> None:
        for kind in KINDS:
            self.world.scene.delete(kind, "w", where)
        self.world.calm()

    @rule(where=places)
    def namespace_goes(self, where: str) -> None:
        self.world.scene.delete("Namespace", where)
        self.world.calm()

    @rule(wanted=st.lists(images, unique=True, max_size=2))
    def policy_wants(self, wanted: list[str]) -> None:
        self.world.scene.apply({**POLICY, "spec": {"images": wanted, "rules": []}})
        self.world.calm()

    # Time, copies, keepers.

    @rule(count=st.sampled_from([1, 3, 6, 30]))
    def time_passes(self, count: int) -> None:
        self.world.hours(count)

    @rule(killed=st.booleans())
    def copies_end(self, killed: bool) -> None:
        self.world.copies(killed=killed)
        self.world.calm()

    @rule()
    def keepers_look(self) -> None:
        self.world.keep()
        self.world.calm()

    @rule()
    def keepers_are_killed(self) -> None:
        self.world.start_keepers()

    @rule(days=st.sampled_from([400, 2, -1, -300]))
    def the_clock_jumps(self, days: int) -> None:
        self.world.scene.clock.ahead += timedelta(days=days)
        self.world.scene.start()
        self.world.calm()

    # Upstream.

    @rule(image=tags)
    def a_tag_moves(self, image: str) -> None:
        self.version += 1
        self.world.upstream[image] = digest_of(image, self.version)
        self.world.published[image].add(digest_of(image, self.version))
        self.world.calm()

    @rule(image=images)
    def an_image_is_gone_upstream(self, image: str) -> None:
        self.world.upstream[image] = None
        self.world.calm()

    @rule(up=st.booleans())
    def upstream_is_down_or_up(self, up: bool) -> None:
        self.world.upstream_up = up
        self.world.calm()

    # Failures.

    @rule(stages=st.frozensets(st.sampled_from(STAGES), max_size=2))
    def stages_fail(self, stages: frozenset[str]) -> None:
        self.world.scene.hooks.failing_stages = stages  # type: ignore[attr-defined]
        self.world.calm()

    @rule(why=st.sampled_from(["", "the API server is slow"]))
    def pods_cannot_be_seen(self, why: str) -> None:
        self.world.scene.hooks.world.blind = why
        self.world.calm()

    @rule(where=places, how=st.sampled_from(["lost", "empty", "odd"]))
    def an_inventory_is_wrong(self, where: str, how: str) -> None:
        found = self.world.scene.find("ImageInventory", where)
        if found and how == "lost":
            self.world.scene.delete("ImageInventory", where)
        elif found:
            images: Any = [] if how == "empty" else "none"
            self.world.scene.change(found, {"spec": {"images": images}})
        self.world.calm()

    @rule(volume=volumes, image=images, tag=st.booleans())
    def a_volume_loses_an_image(self, volume: str, image: str, tag: bool) -> None:
        there, place = self.world.volumes[volume], place_of(image)
        excuse(self.world, image, (volume,))
        if tag:
            there.tags_there.pop(place, None)
        else:
            there.whole -= {one for one in there.whole if one == (place.repository, there.tags_there.get(place))}

    @rule(volume=volumes)
    def a_volume_is_wiped(self, volume: str) -> None:
        for image in IMAGES:
            excuse(self.world, image, (volume,))
        self.world.volumes[volume].tags_there.clear()
        self.world.volumes[volume].whole.clear()

    @rule(volume=volumes, up=st.booleans())
    def a_volume_is_down_or_up(self, volume: str, up: bool) -> None:
        self.world.volumes[volume].up = up

    @rule(volume=volumes, full=st.booleans(), when=st.sampled_from(["Keep", "Evict"]))
    def a_volume_is_full_or_not(self, volume: str, full: bool, when: str) -> None:
        self.world.volumes[volume].full = full
        self.world.terms["capacity"] = {"whenFull": when}
        if self.world.scene.find("ImageCache", "default"):
            self.world.scene.apply(self.world.cache())
        self.world.calm()

    # People.

    @rule(image=images, word=st.sampled_from(["true", "force"]))
    def somebody_wants_it_removed(self, image: str, word: str) -> None:
        found = self.world.scene.image(image)
        if found:
            if word == "force":
                excuse(self.world, image)
                self.world.forced.add(image)
            self.world.scene.annotate("CachedImage", metadata(found)["name"], {"kuik.dev/remove": word})
        self.world.calm()

    @rule(image=images, retain=st.booleans())
    def somebody_retains_it(self, image: str, retain: bool) -> None:
        if found := self.world.scene.image(image):
            self.world.scene.change(found, {"spec": {"retain": retain}})
        self.world.calm()

    @rule(image=images, days=st.sampled_from([-400, 400]))
    def somebody_dates_it(self, image: str, days: int) -> None:
        if found := self.world.scene.image(image):
            date = format_time(self.world.scene.clock.now() + timedelta(days=days))
            self.world.scene.change(found, {"spec": {"unusedSince": date}})
        self.world.calm()

    @rule(image=images)
    def somebody_deletes_the_object(self, image: str) -> None:
        if found := self.world.scene.image(image):
            self.world.objects.pop(image, None)
            self.world.anchors = {one for one in self.world.anchors if one[1] != image}
            self.world.scene.delete("CachedImage", metadata(found)["name"])
        self.world.calm()

    @rule(orphan=st.booleans())
    def somebody_deletes_the_cache(self, orphan: bool) -> None:
        if not orphan:
            self.world.objects.clear()
            self.world.anchors.clear()
        self.world.scene.delete("ImageCache", "default", orphan=orphan)
        self.world.calm()

    @rule()
    def the_cache_is_made_again(self) -> None:
        self.world.scene.apply(self.world.cache())
        self.world.calm()

    @rule()
    def troubles_end(self) -> None:
        self.world.rest()
