"""Healing waits for nobody and nobody for it: the most needed first, each once, and looks go on meanwhile."""

import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hooks.volumes import HEALING, MISSING, WHOLE, reports
from kube.types import Object
from kuik.keeper.cluster import Cluster
from kuik.keeper.healer import Healer
from kuik.keeper.healing import Siblings
from kuik.keeper.memory import Memory
from kuik.keeper.proofs import Proofs
from kuik.keeper.tally import Tally
from kuik.keeper.truth import AGAIN, Truth
from kuik.keeper.volume import Volume
from kuik.keeper.whole import Look, Subject
from registry.client import Client
from registry.digest import Digest
from registry.errors import RegistryError
from registry.transport import Transport
from tests.rig.processes import wait_until

VOLUME = "kuik-registry-0"
DIGEST = Digest.of(b"image")


def cached_image(name: str, reference: str, digest: Digest, **spec: Any) -> Object:
    return {
        "metadata": {"name": name, "uid": name, "annotations": {}},
        "spec": {"image": reference, **spec},
        "status": {"digest": str(digest), "copiedAs": "Public"},
    }


def image(name: str, **spec: Any) -> Object:
    return cached_image(name, f"docker.io/library/{name}:1", DIGEST, **spec)


class Objects(Cluster):
    """The cluster's objects, without a cluster."""

    def __init__(self, *images: Object) -> None:
        self.there = {str(one["metadata"]["name"]): one for one in images}

    def images(self) -> list[Object]:
        return list(self.there.values())

    def cache(self) -> Object:
        return {}

    def annotate_image(self, name: str, values: Any) -> Object:
        self.there[name]["metadata"]["annotations"] |= values
        return self.there[name]

    def say(self, *_said: Any, **_how: Any) -> None:
        """Nobody listens."""

    def state(self, name: str) -> str:
        found = reports(self.there[name]).get(VOLUME)
        return found.state if found else ""


class Bed(Healer):
    """Heals when it is told to; what is there is said by `lacking`."""

    lacking: set[str]
    healed: list[str]
    may: threading.Event
    fails: str = ""
    broken: bool = False

    def look(self, subject: Subject) -> Look:
        return Look(MISSING, "it is not there") if subject.uid in self.lacking else Look(WHOLE)

    def heal(self, subject: Subject, found: Look) -> str:
        self.healed.append(subject.uid)
        assert self.may.wait(10)
        if self.broken:
            raise RegistryError("cannot store it: Read-only file system")
        if not self.fails:
            self.lacking.discard(subject.uid)
        return self.fails


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    ends, tally, transport = threading.Event(), Tally(), Transport()
    volume = Volume(transport, "registry:5000", None, tmp_path)
    proofs = Proofs(volume, Memory(tmp_path / ".kuik"), tally, ends, lambda: 86400.0, lambda: 1000.0)
    siblings = Siblings(Client(transport, lambda _reference: ()), ["other:5000"])
    made = Bed(volume, proofs, siblings, tally, ends)
    made.lacking, made.healed, made.may = set(), [], threading.Event()
    return made


def looking(bed: Bed, cluster: Objects, clock: list[float]) -> Truth:
    now = datetime(2026, 1, 10, tzinfo=UTC)
    return Truth(VOLUME, cluster, bed.proofs, bed, bed.tally, bed.ends, lambda: clock[0], lambda: now)


def test_looks_go_on_while_a_fill_takes_hours(bed: Bed) -> None:
    cluster, clock = Objects(image("a"), image("b")), [0.0]
    truth = looking(bed, cluster, clock)
    bed.lacking = {"a"}
    truth.round()
    assert (cluster.state("a"), cluster.state("b")) == (HEALING, WHOLE)
    filling = threading.Thread(target=bed.round)
    filling.start()
    try:
        wait_until(lambda: bed.healed == ["a"], "the fill begins")
        bed.lacking.add("b")
        clock[0] += truth.look_every
        truth.round()  # which ends, though nothing is filled yet
        assert cluster.state("b") == HEALING
        cluster.there["c"] = image("c")
        truth.round()
        assert cluster.state("c") == WHOLE
    finally:
        bed.may.set()
        filling.join(10)
    truth.round()
    assert cluster.state("a") == WHOLE
    assert bed.round()
    assert not bed.round()
    truth.round()
    assert cluster.state("b") == WHOLE
    assert bed.healed == ["a", "b"], "each once"


def test_the_most_needed_comes_first_as_it_is_needed_now(bed: Bed) -> None:
    bed.may.set()
    cluster = Objects(image("idle"), image("late"), image("used", users=1), image("waiting", waiting=True))
    truth = looking(bed, cluster, [0.0])
    bed.lacking = set(cluster.there)
    truth.round()
    cluster.there["late"]["spec"]["waiting"] = True
    truth.round()
    while bed.round():
        pass
    assert bed.healed == ["late", "waiting", "used", "idle"]


def test_what_the_others_cannot_give_is_said_and_tried_again_later(bed: Bed) -> None:
    bed.may.set()
    cluster, clock = Objects(image("a")), [0.0]
    truth = looking(bed, cluster, clock)
    bed.lacking, bed.fails = {"a"}, "other:5000: it is away"
    truth.round()
    bed.round()
    truth.round()
    assert cluster.state("a") == MISSING
    truth.round()
    assert not bed.round(), "not at once"
    clock[0] += AGAIN
    truth.round()
    assert cluster.state("a") == MISSING, "it is not said to heal as long as that is of no use"
    bed.fails = ""
    bed.round()
    truth.round()
    assert cluster.state("a") == WHOLE


@pytest.mark.parametrize("siblings", [("other:5000",), ()])
def test_what_a_volume_lacks_that_takes_nothing_is_said_all_the_same(bed: Bed, siblings: tuple[str, ...]) -> None:
    bed.may.set()
    bed.siblings.hosts, bed.broken = siblings, True
    cluster = Objects(image("a"))
    truth = looking(bed, cluster, [0.0])
    bed.lacking = {"a"}
    truth.round()
    bed.round()
    truth.round()
    assert cluster.state("a") == MISSING


@pytest.mark.parametrize("gone", ["deleted", "removed on demand", "copied meanwhile"])
def test_what_nobody_wants_here_any_more_is_not_brought_back(bed: Bed, gone: str) -> None:
    cluster = Objects(image("a"))
    truth = looking(bed, cluster, [0.0])
    bed.lacking = {"a"}
    truth.round()
    if gone == "deleted":
        cluster.there.clear()
    elif gone == "removed on demand":
        said = f'{{"at": "2026-01-10T00:00:00Z", "digest": "{DIGEST}", "state": "Removed"}}'
        cluster.annotate_image("a", {f"volume.kuik.dev/{VOLUME}": said})
    else:
        cluster.there["a"]["status"]["copy"] = "Running"
    truth.round()
    assert not bed.round()


@pytest.mark.parametrize("siblings", [("other:5000",), ()])
def test_an_earlier_digest_is_looked_after_as_long_as_it_is_kept_and_told_of_in_the_images_report(
    bed: Bed, siblings: tuple[str, ...]
) -> None:
    bed.may.set()
    bed.siblings.hosts, bed.fails = siblings, "nobody has it"
    old, over = Digest.of(b"old"), Digest.of(b"over")
    cluster, clock = Objects(image("a", waiting=True), image("b", users=1)), [0.0]
    cluster.there["a"]["status"]["previousDigests"] = [
        {"digest": str(old), "until": "2026-01-11T00:00:00Z"},
        {"digest": str(over), "until": "2026-01-09T00:00:00Z"},
        {"digest": "no digest", "until": "2026-01-11T00:00:00Z"},
    ]
    truth = looking(bed, cluster, clock)
    bed.lacking = {f"a/{old.hex}", f"a/{over.hex}", "b"}
    for _ in range(2):
        truth.round()
        while bed.round():
            pass
    truth.round()
    said = reports(cluster.there["a"])[VOLUME]
    assert (said.state, said.digest) == (WHOLE, str(DIGEST)), "the state is about what the tag names now"
    assert said.message == f"the earlier digest {old}: it is not there"
    assert bed.healed == ["b", f"a/{old.hex}"] if siblings else [f"a/{old.hex}", "b"], "pods wait for none of these"
    bed.fails = ""
    clock[0] += AGAIN
    truth.round()
    bed.round()
    bed.round()
    truth.round()
    truth.round()
    assert (cluster.state("a"), reports(cluster.there["a"])[VOLUME].message) == (WHOLE, "")


def test_an_earlier_digest_is_its_images_anchor() -> None:
    old = Digest.of(b"old")
    found = cached_image("a", "docker.io/library/a:1", DIGEST)
    found["status"]["previousDigests"] = [{"digest": str(old), "until": "2026-01-11T00:00:00Z"}]
    subject = Subject.read(found)
    assert subject
    (earlier,) = subject.earlier(found, datetime(2026, 1, 10, tzinfo=UTC))
    assert (earlier.image.anchor, earlier.digest, earlier.name) == (f"digest-{old.hex}", old, "a")
    assert subject.earlier(found, datetime(2026, 1, 12, tzinfo=UTC)) == ()


def test_an_image_that_was_never_copied_is_told_of_only_where_it_is_whole(bed: Bed, monkeypatch: Any) -> None:
    cluster, clock = Objects({**image("a"), "status": {}}), [0.0]
    subject = Subject.read(image("a"))
    there: list[Subject | None] = [None]
    monkeypatch.setattr(bed, "named", lambda _image: there[0])
    truth = looking(bed, cluster, clock)
    truth.round()
    there[0], bed.lacking = subject, {"a"}
    clock[0] += truth.look_every
    truth.round()
    assert cluster.state("a") == ""
    bed.lacking = set()
    truth.round()
    assert cluster.state("a") == "", "not before its time"
    clock[0] += truth.look_every
    truth.round()
    assert (cluster.state("a"), reports(cluster.there["a"])[VOLUME].digest) == (WHOLE, str(DIGEST))
    bed.lacking = {"a"}
    clock[0] += truth.look_every
    truth.round()
    assert cluster.state("a") == WHOLE, "what a copy is to bring is never missing"
    assert not bed.healed
