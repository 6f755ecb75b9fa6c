"""A registry of several volumes as the keeper meets it, in memory: tags, what is whole, and a collection of garbage."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from kuik.keeper.history import History
from kuik.keeper.kept import Place
from kuik.keeper.volume import Room
from registry.digest import Digest
from registry.errors import Unreachable
from registry.proxied import inside
from registry.reference import Reference

GIB = 1024**3
CAPACITY = 100 * GIB


def place_of(image: str, digest: str = "") -> Place:
    """Where an image is, or an earlier digest of it."""
    reference = inside(Reference.parse(image), "registry")
    anchored = reference.with_digest(Digest.parse(digest)) if digest else reference
    return Place(reference.repository, anchored.anchor)


@dataclass
class ModelVolume:
    """What kuik.keeper.volume.Volume asks of a registry, and what may be lost. `whole` are repository and digest."""

    name: str
    tags_there: dict[Place, str] = field(default_factory=dict)
    whole: set[tuple[str, str]] = field(default_factory=set)
    up: bool = True
    full: bool = False

    def holds(self, place: Place) -> str:
        """The digest under this tag where all of it is there, else nothing."""
        digest = self.tags_there.get(place, "")
        return digest if (place.repository, digest) in self.whole else ""

    def copied(self, image: str, digest: str) -> None:
        """As a copy does it: what the tag named before gets an anchor first."""
        place = place_of(image)
        before = self.tags_there.get(place)
        if before and before != digest:
            self.tags_there[place_of(image, before)] = before
        self.whole.add((place.repository, digest))
        self.tags_there[place] = digest

    def collect(self) -> None:
        """Drop what no tag names."""
        named = {(place.repository, digest) for place, digest in self.tags_there.items()}
        self.whole &= named

    def tags(self, _named: Iterable[str]) -> Mapping[str, Collection[str]]:
        self._answer()
        found: dict[str, list[str]] = defaultdict(list)
        for place in self.tags_there:
            found[place.repository].append(place.tag)
        return found

    def subjects(self, _repository: str, _tags: Iterable[str]) -> frozenset[Digest]:
        return frozenset()

    def remove(self, place: Place) -> bool:
        self._answer()
        return self.tags_there.pop(place, None) is not None

    def room(self, _configured: int | None, *, anew: bool = False) -> Room:
        used = CAPACITY - GIB if self.full else len(self.whole) * GIB
        return Room(used, CAPACITY, CAPACITY - used)

    def _answer(self) -> None:
        if not self.up:
            raise Unreachable(f"{self.name} does not answer")


@dataclass
class ModelMemory:
    """What outlives the keeper's process."""

    seen: str = ""
    at: datetime | None = None
    garbage: bool = False

    def own(self) -> bool:
        return True

    def history(self) -> History:
        return History.read(self.seen)

    def keep(self, history: History) -> None:
        self.seen = history.text()

    def collected_at(self) -> datetime | None:
        return self.at

    def collected(self, at: datetime) -> None:
        self.at, self.garbage = at, False

    def litter(self) -> None:
        self.garbage = True


@dataclass(frozen=True)
class Collected:
    """What the writer tells of a collection."""

    seconds: float = 1.0
    blobs: int = 0
    problem: str = ""


@dataclass
class ModelWriter:
    """The writer's process, which is stopped while garbage is collected."""

    volume: ModelVolume

    def collect(self, _longest: float, _ends: object) -> Collected:
        self.volume.collect()
        return Collected()
