"""The keeper's rounds, beside a registry and a cluster that are plain data: doubt deletes nothing."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from hooks.facts import Known, Unknown
from kube.client import KubernetesError
from kube.types import format_time
from kuik.keeper.cluster import Cluster, Listed
from kuik.keeper.keeper import Keeper
from kuik.keeper.kept import Place
from kuik.keeper.memory import Memory
from kuik.keeper.volume import Room, Volume
from kuik.keeper.writer import Collected, Writer
from registry.attached import subject_of
from registry.digest import Digest
from registry.errors import NotFound, RegistryError

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
ONE = Digest.of(b"one")
NGINX = "docker.io/library/nginx"
NOBODY = Known(frozenset[str]())
KEEPER = {"grace": "1h", "sweepEvery": "10m"}


def image(name: str = "nginx", named: str = f"{NGINX}:1", **spec: Any) -> dict[str, Any]:
    status = {"digest": str(ONE), "copiedAs": "Public"}
    return {"metadata": {"name": name}, "spec": {"image": named, **spec}, "status": status}


@dataclass
class FakeCluster:
    """A cluster as the keeper sees it; `wrong` is raised instead of every fresh list."""

    listing: list[dict[str, Any]] = field(default_factory=list)
    there: dict[str, Any] | None = field(default_factory=lambda: {"metadata": {}, "spec": {"keeper": KEEPER}})
    used: Known[frozenset[str]] | Unknown = NOBODY
    wrong: Exception | None = None
    said: list[str] = field(default_factory=list)
    looks: int = 0
    synced: bool = True

    def images(self) -> list[dict[str, Any]]:
        return self.listing

    def cache(self) -> dict[str, Any] | None:
        return self.there

    def listed(self) -> Listed | None:
        if self.wrong:
            raise self.wrong
        return Listed(self.there, tuple(self.listing)) if self.there is not None else None

    def in_use(self) -> Known[frozenset[str]] | Unknown:
        self.looks += 1
        return self.used

    def annotate_image(self, name: str, annotations: Mapping[str, str | None]) -> None:
        for one in self.listing:
            if one["metadata"]["name"] == name:
                one["metadata"].setdefault("annotations", {}).update(annotations)

    def annotate_cache(self, annotations: Mapping[str, str | None]) -> None:
        if self.there is not None:
            self.there["metadata"].setdefault("annotations", {}).update(annotations)

    def say(self, reason: str, *_said: Any, **_more: Any) -> None:
        self.said.append(reason)


@dataclass
class FakeVolume:
    """A registry's tags; `wrong` is raised instead of the list of them."""

    there: set[Place]
    wrong: Exception | None = None
    unreadable: bool = False

    def tags(self, _named: Collection[str]) -> Mapping[str, Collection[str]]:
        if self.wrong:
            raise self.wrong
        names = {place.repository for place in self.there}
        return {name: [one.tag for one in self.there if one.repository == name] for name in names}

    def attached_to(self, _repository: str, _kept: Collection[str], attached: Collection[str]) -> frozenset[str]:
        if self.unreadable:
            raise NotFound("a manifest")
        return frozenset({f"sha256-{ONE.hex}"} & {subject_of(tag) or "" for tag in attached})

    def remove(self, place: Place) -> bool:
        self.there.discard(place)
        return True

    def room(self, _configured: int | None, *, anew: bool = False) -> Room:
        return Room(1000, 2000, 1000)


@dataclass
class FakeWriter:
    problem: str = ""
    collections: int = 0

    def collect(self, _longest: float, _ends: Callable[[], bool]) -> Collected:
        self.collections += 1
        return Collected(1, 1.0, self.problem)


class Scene:
    """A keeper with its clock in hand."""

    def __init__(self, folder: Path, *tags: str) -> None:
        self.cluster, self.writer = FakeCluster(), FakeWriter()
        self.volume = FakeVolume({Place.parse(tag) for tag in tags})
        self.folder, self.at, self.jumped = folder, 0.0, timedelta()
        self.keeper = self.started()

    def started(self) -> Keeper:
        """A new process, of which the old one is gone."""
        if hasattr(self, "keeper"):
            self.keeper.memory.release()
        return Keeper(
            "a",
            cast("Cluster", self.cluster),
            cast("Volume", self.volume),
            Memory(self.folder),
            cast("Writer", self.writer),
            now=lambda: NOW + self.jumped + timedelta(seconds=self.at),
            monotonic=lambda: self.at,
        )

    def lives(self, hours: float) -> None:
        for _ in range(int(hours * 60)):
            self.at += 60
            self.keeper.tick()

    @property
    def left(self) -> set[str]:
        return {str(place) for place in self.volume.there}


LOOSE = f"{NGINX}:old"


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    made = Scene(tmp_path, f"{NGINX}:1", LOOSE)
    made.cluster.listing = [image()]
    return made


def test_what_stands_for_nothing_goes_after_the_grace_and_is_collected(scene: Scene) -> None:
    scene.lives(1)
    assert LOOSE in scene.left
    scene.lives(0.5)
    assert scene.left == {f"{NGINX}:1"}
    assert (scene.writer.collections, scene.cluster.said) == (1, ["Swept"])


def _no_list(scene: Scene) -> None:
    scene.cluster.wrong = KubernetesError("down")


def _no_kind(scene: Scene) -> None:
    scene.cluster.wrong = KubernetesError("no such kind", 404)


def _no_cache(scene: Scene) -> None:
    scene.cluster.there = None


def _empty(scene: Scene) -> None:
    scene.cluster.listing = []
    assert scene.cluster.there is not None
    scene.cluster.there["status"] = {"images": 1}


def _cache_leaves(scene: Scene) -> None:
    assert scene.cluster.there is not None
    scene.cluster.there["metadata"]["deletionTimestamp"] = "2026-11-25T12:00:00Z"


def _no_tags(scene: Scene) -> None:
    scene.volume.wrong = RegistryError("the catalog broke off")


def _pods_unknown(scene: Scene) -> None:
    scene.cluster.used = Unknown("away")


def _in_use(scene: Scene) -> None:
    scene.cluster.used = Known(frozenset({LOOSE}))


@pytest.mark.parametrize(
    "doubt", [_no_list, _no_kind, _no_cache, _empty, _cache_leaves, _no_tags, _pods_unknown, _in_use]
)
def test_doubt_deletes_nothing(scene: Scene, doubt: Callable[[Scene], None]) -> None:
    scene.lives(0.9)
    doubt(scene)
    scene.lives(30)
    assert {LOOSE, f"{NGINX}:1"} == scene.left


@pytest.mark.parametrize("jump", [timedelta(days=4000), timedelta(days=-4000)])
def test_a_clock_that_jumps_deletes_nothing_early_and_keeps_nothing_for_ever(scene: Scene, jump: timedelta) -> None:
    scene.lives(0.5)
    scene.jumped = jump
    scene.lives(0.4)
    scene.keeper = scene.started()
    assert LOOSE in scene.left
    scene.lives(2)
    assert LOOSE not in scene.left


@pytest.mark.parametrize("jump", [timedelta(days=40), timedelta(days=-40)])
def test_a_clock_that_jumps_there_and_back_costs_no_earlier_digest(scene: Scene, jump: timedelta) -> None:
    anchor = f"{NGINX}:digest-{'a' * 64}"
    scene.volume.there |= {Place.parse(anchor)}
    until = format_time(NOW + timedelta(days=2))
    scene.cluster.listing[0]["status"]["previousDigests"] = [{"digest": f"sha256:{'a' * 64}", "until": until}]
    for _ in range(10):
        scene.jumped = jump
        scene.lives(0.8)
        scene.keeper = scene.started()
        scene.jumped = timedelta()
        scene.lives(0.4)
    assert anchor in scene.left
    assert LOOSE not in scene.left, "what is due goes all the same"
    scene.lives(50)
    assert anchor not in scene.left


def test_a_new_process_goes_on_where_the_last_one_was(scene: Scene) -> None:
    for _ in range(5):
        scene.lives(0.3)
        scene.keeper = scene.started()
    assert scene.left == {f"{NGINX}:1"}
    assert scene.writer.collections == 1


def test_what_is_wanted_again_begins_anew(scene: Scene) -> None:
    scene.lives(0.8)
    scene.cluster.listing.append(image("old", LOOSE))
    scene.lives(0.5)
    scene.cluster.listing.pop()
    scene.lives(1)
    assert LOOSE in scene.left
    scene.lives(1)
    assert LOOSE not in scene.left


def test_what_is_attached_stays_while_it_cannot_be_told_to_what(scene: Scene) -> None:
    signature = f"{NGINX}:sha256-{Digest.of(b'other').hex}.sig"
    scene.volume.there |= {Place.parse(signature)}
    scene.volume.unreadable = True
    scene.lives(3)
    assert scene.left == {f"{NGINX}:1", signature}
    scene.volume.unreadable = False
    scene.lives(2)
    assert scene.left == {f"{NGINX}:1"}


def test_a_stopped_sweep_goes_on_at_a_persons_word_at_once_and_that_counts_once(scene: Scene) -> None:
    many = {Place(NGINX, f"m{number}") for number in range(12)}
    scene.volume.there |= many
    scene.lives(1.5)
    assert len(scene.left) == 14
    stopped = scene.keeper.report.sweep
    assert (stopped.state, stopped.due, stopped.total) == ("Stopped", 13, 14)
    assert (scene.keeper.tally.loose_tags, scene.keeper.tally.sweep_stopped) == (13, True)
    scene.cluster.annotate_cache({"kuik.dev/confirm-sweep": f"beef,{stopped.confirm}"})
    scene.lives(0.05)
    assert scene.left == {f"{NGINX}:1"}
    assert (scene.keeper.tally.loose_tags, scene.keeper.tally.sweep_stopped) == (0, False)
    scene.volume.there |= {*many, Place.parse(LOOSE)}
    scene.lives(3)
    assert len(scene.left) == 14, "the word was about those of that time"
    assert scene.keeper.report.sweep.state == "Stopped"


def test_a_wish_that_is_refused_costs_few_looks_at_all_pods(scene: Scene) -> None:
    scene.cluster.listing = [image(remove="Evicted")]
    scene.cluster.used = Known(frozenset({f"{NGINX}:1"}))
    scene.lives(10)
    assert f"{NGINX}:1" in scene.left
    assert scene.cluster.looks < 80
    scene.cluster.used = Known(frozenset())
    scene.lives(0.3)
    assert f"{NGINX}:1" not in scene.left


def test_a_collection_that_fails_is_told_and_tried_less_and_less(scene: Scene) -> None:
    scene.writer.problem = "it ended with 1"
    scene.lives(24)
    assert 3 <= scene.writer.collections <= 8
    assert "it ended with 1" in scene.keeper.report.problem
    assert "CollectionFailed" in scene.cluster.said
    scene.writer.problem = ""
    scene.lives(24)
    assert scene.keeper.report.problem == ""
    assert not scene.keeper.memory.garbage
