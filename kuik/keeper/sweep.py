"""What a sweep removes, and when it stops and asks a person first. Pure."""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from kuik.keeper.kept import Place
from registry.attached import subject_of
from registry.proxied import PRIVATE_SEGMENT
from registry.reference import names_a_host

CONFIRM = "kuik.dev/confirm-sweep"
"""The annotation on the ImageCache by which a person lets a stopped sweep go on."""

MANY = 10
"""Tags that may always go at once."""

Tags = Mapping[str, Collection[str]]
"""The tags of each repository."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do about the tags that are `due`: remove them, or stop. `token` is what a person has to write."""

    remove: frozenset[Place]
    due: frozenset[Place]
    total: int
    token: str = ""

    @property
    def stopped(self) -> bool:
        return bool(self.due) and not self.remove

    @property
    def message(self) -> str:
        """What a person reads who is to decide; empty where nobody is."""
        if not self.stopped:
            return ""
        few = ", ".join(map(str, sorted(self.due)[:3]))
        return (
            f"{len(self.due)} of {self.total} tags stand for no CachedImage, among them {few}. Nothing was removed. "
            f"If that is right: kubectl annotate imagecache default {CONFIRM}={self.token} --overwrite"
        )


def ours(repository: str) -> bool:
    """Whether kuik puts images into such a repository; of others it knows nothing, and leaves them alone."""
    first, _, rest = repository.removeprefix(f"{PRIVATE_SEGMENT}/").partition("/")
    return bool(rest) and names_a_host(first.replace("__", ":"))


def places_of(tags: Tags) -> frozenset[Place]:
    """All tags of kuik's."""
    return frozenset(Place(repository, tag) for repository, found in tags.items() if ours(repository) for tag in found)


def unwanted(there: Iterable[Place], kept: Collection[Place], attached_to: Mapping[str, Collection[str]]) -> set[Place]:
    """The tags that stand for nothing that is kept.

    What was attached to a digest (signatures, referrers) stays with it: `attached_to` are the fallback tags, by
    repository, of the digests that are kept there.
    """

    def stays(place: Place) -> bool:
        if place in kept:
            return True
        subject = subject_of(place.tag)
        return subject is not None and subject in attached_to.get(place.repository, ())

    return {place for place in there if not stays(place)}


def asked_about(there: Iterable[Place]) -> frozenset[str]:
    """The repositories in which something is attached to a digest, so that it has to be known what is kept there."""
    return frozenset(place.repository for place in there if subject_of(place.tag) is not None)


def judge(due: Collection[Place], total: int, confirmed: str, before: int = 0) -> Verdict:
    """Remove what is due, but stop where that is more than MANY tags and more than half of all.

    `confirmed` is what a person wrote, one token or several (volumes may differ): each lets exactly that go which it
    was written about, and once. `before` is how often a person's word was acted on, so that an old one is none.
    """
    found = frozenset(due)
    if len(found) <= MANY or len(found) * 2 <= total:
        return Verdict(found, found, total)
    token = _token(found, before)
    return Verdict(found if token in words(confirmed) else frozenset(), found, total, token)


def words(confirmed: str) -> list[str]:
    """The tokens in the annotation, which commas or spaces part."""
    return confirmed.replace(",", " ").split()


def _token(due: Iterable[Place], before: int) -> str:
    named = "\n".join(sorted(map(str, due)))
    return hashlib.sha256((f"{before}\n{named}" if before else named).encode()).hexdigest()[:16]
