"""Stage 2 where there is no room: what leaves, what never does, and what it says of it."""

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hooks.eviction import SETTLED, Unused, leaving
from hooks.facts import Context, Known, Unknown
from hooks.messages import Unreadable, answer
from hooks.quotas import Account
from hooks.stages import STAGES
from kube.quantity import format_bytes, parse_quantity
from kube.schema import defaulted, validate
from kube.types import format_time
from kuik.driver.apply import applied
from tests.hooks import golden
from tests.hooks.world import NOW, image_cache, namespace

STAGE = STAGES["imagecache"]
GIB = 1024**3
HUB = "docker.io/library"


class Room:
    """An ImageCache with its images, volumes and policies, synced as Metacontroller would."""

    def __init__(self, **capacity: Any) -> None:
        self.parent = image_cache()
        self.parent["spec"]["capacity"] = capacity
        self.images: dict[str, dict[str, Any]] = {}
        self.used: dict[str, set[str]] = {"a": set(), "b": set()}
        self.policies: list[dict[str, Any]] = []
        self.pods: frozenset[str] = frozenset()
        self.blind = False
        self.missing: set[str] = set()
        self.now = NOW
        self.looks = 0
        self.resync = 0.0

    def volume(self, name: str = "v0", **said: Any) -> None:
        said = {"at": format_time(self.now), **said}
        self.parent["metadata"].setdefault("annotations", {})[f"volume.kuik.dev/{name}"] = json.dumps(said)

    def sync(self) -> None:
        found = [self._inventory(name) for name in self.used if name not in self.missing]
        related = [*(namespace(name) for name in self.used), *found, *self.policies]
        asked = golden.request(STAGE, self.parent, list(self.images.values()), related)
        said = answer(STAGE, asked, Context(self.now), self._gather)
        kept = {}
        for child in said["children"]:
            if child["kind"] != "CachedImage":
                continue
            before = self.images.get(child["metadata"]["name"])
            after = json.loads(json.dumps(applied(before, child) if before else {**child, "status": {}}))
            after["spec"] = {field: value for field, value in after["spec"].items() if value is not None}
            assert validate(after) == ()
            kept[child["metadata"]["name"]] = after
        self.images = kept
        self.parent["status"] = said["status"]
        self.resync = said["resyncAfterSeconds"]
        assert validate(defaulted(self.parent)) == ()

    def _inventory(self, name: str) -> dict[str, Any]:
        entry = {"decision": "Cache", "rule": "Default", "pullSecrets": [], "usedBy": ["Deployment/w"], "users": 1}
        images = [{"image": f"{HUB}/{image}:1", **entry} for image in sorted(self.used[name])]
        spec = {"namespace": name, "images": images}
        return {"apiVersion": "kuik.dev/v1alpha1", "kind": "ImageInventory", "metadata": {"name": name}, "spec": spec}

    def _gather(self, questions: Any, context: Context) -> Context:
        if not questions.pods:
            return context
        self.looks += 1
        seen = Unknown("no answer") if self.blind else Known(self.pods)
        return Context(context.now, context.settings, context.access, seen)

    def image(self, name: str) -> dict[str, Any] | None:
        return next((one for one in self.images.values() if one["spec"]["image"] == f"{HUB}/{name}:1"), None)

    def spec(self, name: str) -> dict[str, Any]:
        found = self.image(name)
        assert found, f"{name} is not there"
        spec: dict[str, Any] = found["spec"]
        return spec

    def cached(self, *names: str, size: int = GIB) -> None:
        """The images are used by namespace a, and copied."""
        self.used["a"].update(names)
        self.sync()
        for name in names:
            found = self.image(name)
            assert found
            condition = {"type": "Cached", "status": "True", "reason": "Copied", "message": ""}
            times = {"lastTransitionTime": format_time(self.now)}
            found["status"] = {"phase": "Cached", "size": size, "conditions": [{**condition, **times}]}

    def unused(self, *names: str, hours: float = 1) -> None:
        """Nobody uses the images any more, for that long, the first named the longest."""
        for name in names:
            self.used["a"].discard(name)
            self.sync()
            self.now += timedelta(hours=hours)

    def removed(self, name: str, *volumes: str) -> None:
        found = self.image(name)
        assert found
        at = format_time(self.now)
        stand = [{"volume": one, "state": "Removed", "digest": "sha256:aa", "at": at} for one in volumes]
        found["status"]["replicas"] = stand
        found["status"]["conditions"][0]["status"] = "False"

    def told(self) -> dict[str, str]:
        return {
            name: spec["remove"] for name in ("one", "two", "three", "four") if "remove" in (spec := self._of(name))
        }

    def _of(self, name: str) -> dict[str, Any]:
        found = self.image(name)
        return found["spec"] if found else {}

    def condition(self, name: str) -> tuple[str, str]:
        found = [one for one in self.parent["status"]["conditions"] if one["type"] == name]
        return (found[0]["status"], found[0]["message"]) if found else ("", "")


def full(**capacity: Any) -> Room:
    """Three images of 1 GiB on a volume of 10 GiB that is full; two of them are not used any more."""
    room = Room(**capacity)
    room.cached("one", "two", "three")
    room.unused("two", "one")
    room.volume(bytes=3 * GIB, capacity=10 * GIB, free=GIB)
    room.sync()
    return room


def test_a_full_volume_is_named_with_what_to_do_and_keeps_its_images() -> None:
    room = full(fullAt=90)
    assert room.told() == {}
    status, message = room.condition("StoreFull")
    assert status == "True"
    assert "v0 has 9.0 GiB of 10.0 GiB (90%)" in message
    assert "whenFull: Evict" in message
    assert room.parent["status"]["volumes"][0]["free"] == GIB
    room.volume(bytes=3 * GIB, capacity=10 * GIB, free=GIB + GIB // 10)
    room.sync()
    assert room.condition("StoreFull")[0] == "True", "89% is not clearly less"
    room.volume(bytes=3 * GIB, capacity=10 * GIB, free=2 * GIB)
    room.sync()
    assert room.condition("StoreFull")[0] == "True", "good news come a while later"
    room.now += timedelta(seconds=61)
    room.sync()
    assert room.condition("StoreFull")[0] == "False"


def test_without_a_keeper_nothing_is_said_of_volumes() -> None:
    room = Room()
    room.cached("one")
    room.sync()
    assert room.condition("StoreFull") == ("", "")
    assert "volumes" not in room.parent["status"]


def test_the_least_recently_needed_leaves_first_and_no_more_than_it_takes() -> None:
    room = full(whenFull="Evict")
    assert room.told() == {"two": "Evicted"}, "5% of 10 GiB are wanted"
    assert "1 images that nobody uses leave" in room.condition("StoreFull")[1]
    room.sync()
    room.now += timedelta(hours=5)
    room.sync()
    assert room.told() == {"two": "Evicted"}, "what is on its way out is counted"
    room.removed("two", "v0")
    room.sync()
    assert room.image("two"), "its room is not there yet"
    assert room.told() == {"two": "Evicted"}
    room.now += timedelta(hours=1)
    room.volume(bytes=2 * GIB, capacity=10 * GIB, free=2 * GIB, collectedAt=format_time(room.now))
    room.sync()
    assert room.image("two") is None
    assert room.told() == {}
    assert room.image("one")


def test_the_cache_may_have_less_than_the_volume() -> None:
    room = full(whenFull="Evict", bytes="3Gi", fullAt=50)
    assert room.told() == {"one": "Evicted", "two": "Evicted"}
    assert "3.0 GiB of 3.0 GiB" in room.condition("StoreFull")[1]


def test_what_is_used_again_stays_and_what_is_in_use_never_leaves() -> None:
    room = full(whenFull="Evict", bytes="1Gi", fullAt=1)
    assert room.told() == {"one": "Evicted", "two": "Evicted"}
    assert "remove" not in room.spec("three")
    room.used["b"].add("two")
    room.sync()
    assert room.told() == {"one": "Evicted"}
    room.pods = frozenset({f"{HUB}/one:1"})
    room.removed("one", "v0")
    room.volume(bytes=GIB, capacity=10 * GIB, free=GIB, collectedAt=format_time(room.now))
    room.sync()
    assert room.image("one"), "a pod uses it, though no inventory says so"
    assert room.told() == {}


def test_doubt_tells_nothing_to_leave_and_takes_back_what_nobody_acted_on() -> None:
    for doubt in ("blind", "gap"):
        room = full()
        room.parent["spec"]["capacity"] = {"whenFull": "Evict", "fullAt": 1}
        room.blind = doubt == "blind"
        room.missing = {"b"} if doubt == "gap" else set()
        room.sync()
        assert room.told() == {}, doubt
        room.blind, room.missing = False, set()
        room.sync()
        assert room.told() == {"one": "Evicted", "two": "Evicted"}
        room.missing = {"b"}
        room.removed("two", "v0")
        room.sync()
        assert room.told() == {"two": "Evicted"}, "that one is gone already"
        assert room.image("two")


def test_what_people_retain_and_what_was_just_used_stays() -> None:
    room = full()
    room.spec("two")["retain"] = True
    room.parent["spec"]["capacity"] = {"whenFull": "Evict", "fullAt": 1}
    room.unused("three", hours=0)
    room.sync()
    assert room.told() == {"one": "Evicted"}
    assert room.resync == SETTLED, "the last one may leave in a while"
    room.now += timedelta(seconds=SETTLED)
    room.sync()
    assert room.told() == {"one": "Evicted", "three": "Evicted"}


def test_a_copy_that_finds_no_room_lets_one_image_leave() -> None:
    room = Room(whenFull="Evict")
    room.cached("one", "two", "three")
    room.unused("two", "one")
    room.used["a"].add("four")
    room.sync()
    assert room.told() == {}
    found = room.image("four")
    assert found
    found["status"] = {"phase": "Failed", "reason": "StoreFull", "failures": 1}
    room.sync()
    assert room.told() == {"two": "Evicted"}
    assert "1 images found no room" in room.condition("StoreFull")[1]


def test_pods_are_looked_at_only_where_something_may_leave() -> None:
    room = full()
    assert room.looks == 0
    room.parent["spec"]["capacity"] = {"whenFull": "Evict"}
    room.sync()
    assert room.looks == 1
    room.removed("two", "v0")
    for _ in range(3):
        room.sync()
    assert room.looks == 1 + 3


def test_an_image_that_a_person_removed_goes_once_every_volume_says_so() -> None:
    room = Room()
    room.cached("one", "two")
    room.unused("one")
    for name in ("one", "two"):
        found = room.image(name)
        assert found
        found["metadata"]["annotations"]["kuik.dev/remove"] = "force"
    room.sync()
    assert room.image("one")
    room.removed("one", "v0")
    room.removed("two", "v0")
    room.sync()
    assert room.image("one") is None
    assert room.image("two"), "it is in use, and is copied anew"


def quota(most: str, *namespaces: str) -> dict[str, Any]:
    entry = {"bytes": most, **({"namespaces": list(namespaces)} if namespaces else {})}
    policy = {"apiVersion": "kuik.dev/v1alpha1", "kind": "ClusterCachePolicy", "metadata": {"name": "quotas"}}
    return {**policy, "spec": {"quotas": [entry]}}


def test_an_image_that_only_namespaces_over_their_quota_use_is_not_copied() -> None:
    room = Room()
    room.policies = [quota("3Gi", "a*")]
    room.cached("one", "two", "three")
    room.used["a"] |= {"four", "shared"}
    room.used["b"].add("shared")
    room.sync()
    assert room.spec("four")["hold"] == {
        "reason": "OverQuota",
        "message": "not copied, as a has 3.0 GiB of its 3.0 GiB",
    }
    assert room.spec("four")["suspend"] is True
    assert "hold" not in room.spec("shared"), "b has room for it"
    assert room.spec("shared")["suspend"] is False
    assert not any("hold" in room.spec(name) for name in ("one", "two", "three")), "what is cached stays"
    room.unused("one")
    room.sync()
    assert room.told() == {}, "as much as it may have"
    room.policies = [quota("2Gi", "a")]
    room.sync()
    assert room.told() == {"one": "OverQuota"}
    room.removed("one", "v0")
    room.sync()
    assert room.image("one") is None
    room.policies = []
    room.sync()
    assert "hold" not in room.spec("four")
    assert room.spec("four")["suspend"] is False


def test_a_quota_that_cannot_be_read_answers_nothing() -> None:
    for entry in ({"bytes": "5 GB"}, {"bytes": "5Gi", "namespace": "a"}, {"bytes": "5Gi", "namespaces": "a"}, "5Gi"):
        room = Room()
        policy = quota("1Gi")
        room.policies = [{**policy, "spec": {"quotas": [entry]}}]
        with pytest.raises(Unreadable, match=r"ClusterCachePolicy/quotas: spec.quotas\[0\]"):
            room.sync()


def test_a_stopped_sweep_says_how_it_goes_on() -> None:
    room = Room()
    room.cached("one")
    room.volume(sweep={"state": "Stopped", "due": 40, "total": 60, "confirm": "abc123", "message": "more than half"})
    room.sync()
    status, message = room.condition("SweepStopped")
    assert status == "True"
    assert "40 of 60 tags" in message
    assert "kubectl annotate imagecache default --overwrite kuik.dev/confirm-sweep=abc123" in message
    room.volume(sweep={"state": "Idle", "due": 0, "total": 20})
    room.sync()
    assert room.condition("SweepStopped")[0] == "False"


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[" * 10_000,
        "[]",
        '{"bytes": -1, "capacity": "x", "free": 1e300, "sweep": {"state": "Burning"}, "at": 7}',
        '{"bytes": true, "sweep": [1], "collectedAt": "soon", "tags": 99999999999999999999999999}',
        '{"sweep": {"state": ["Idle"], "confirm": 7}}',
    ],
)
def test_a_volume_that_cannot_be_understood_is_named_and_nothing_else(text: str) -> None:
    room = Room(whenFull="Evict", bytes="1")
    room.cached("one", "two")
    room.unused("one")
    room.parent["metadata"]["annotations"] = {"volume.kuik.dev/v0": text}
    room.sync()
    assert room.parent["status"]["volumes"] == [{"name": "v0"}]
    assert room.told() == {}


def test_a_date_that_somebody_wrote_on_an_image_in_use_does_not_count_and_goes() -> None:
    """It would expire at the moment when its last user leaves, however short that is."""
    room = Room()
    room.cached("one", "two")
    for name in ("one", "two"):
        room.spec(name)["unusedSince"] = "2020-01-01T00:00:00Z"
    room.used["a"].discard("one")
    room.sync()
    assert room.spec("one")["unusedSince"] == format_time(room.now)
    assert "unusedSince" not in room.spec("two")
    room.sync()
    before = json.dumps(room.images)
    room.sync()
    assert json.dumps(room.images) == before


def test_a_date_to_come_begins_anew() -> None:
    """A clock was ahead when it was written."""
    room = Room()
    room.cached("one")
    room.unused("one")
    room.spec("one")["unusedSince"] = "2999-01-01T00:00:00Z"
    room.sync()
    assert room.spec("one")["unusedSince"] == format_time(room.now)


def test_who_looked_after_an_image_last_is_remembered_while_nobody_uses_it() -> None:
    room = Room()
    room.cached("one")
    room.used["b"].add("one")
    room.sync()
    room.used["b"].discard("one")
    room.sync()
    room.unused("one")
    assert room.spec("one")["usedBefore"] == ["a"]
    room.sync()
    assert room.spec("one")["usedBefore"] == ["a"]
    room.used["b"].add("one")
    room.sync()
    assert "usedBefore" not in room.spec("one")


candidates = st.lists(
    st.builds(
        Unused,
        st.integers(0, 10**6).map(str),
        st.floats(0, 10**6),
        st.integers(0, 100),
        st.frozensets(st.sampled_from("ab")),
        st.sampled_from(["", "", "Evicted", "OverQuota"]),
    ),
    unique_by=lambda one: one.name,
    max_size=12,
)


@given(
    candidates,
    st.integers(-50, 300),
    st.dictionaries(st.sampled_from("ab"), st.builds(Account, *[st.integers(0, 300)] * 2)),
)
def test_no_image_leaves_for_nothing_and_an_older_one_before_it(
    unused: list[Unused], excess: int, kept: dict[str, Account]
) -> None:
    told = leaving(unused, excess, kept)
    assert {one.name for one in unused if one.told} <= told.keys()
    by_name = {one.name: one for one in unused}
    new = [by_name[name] for name in told if not by_name[name].told]
    assert all(one.settled and one.size for one in new)
    evicted = sorted((one for one in new if told[one.name] == "Evicted"), key=lambda one: -one.since)
    if evicted:
        last = min(evicted, key=lambda one: (one.since, [-ord(c) for c in one.name]))
        others = sum(one.size for one in unused if one.name in told and one is not last and told[one.name] == "Evicted")
        assert others < excess
        stay = [one for one in unused if one.name not in told and one.settled and one.size]
        assert all(one.since <= min(two.since for two in evicted) for one in stay)
    assert leaving(reversed(unused), excess, kept) == told
    if excess <= 0 and not kept:
        assert not new


@pytest.mark.parametrize(("text", "count"), [("0", 0), ("5", 5), ("2k", 2000), ("1Ki", 1024), ("5Gi", 5 * GIB)])
def test_quantities(text: str, count: int) -> None:
    assert parse_quantity(text) == count


@pytest.mark.parametrize("text", ["", "-1", "1.5Gi", "5GB", "5 GiB", "Gi", "1e3"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="500Gi"):
        parse_quantity(text)


def test_bytes_for_people() -> None:
    assert [format_bytes(n) for n in (0, 1023, 1536, 5 * GIB)] == ["0 B", "1023 B", "1.5 KiB", "5.0 GiB"]
