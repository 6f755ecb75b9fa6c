"""Which tags of the registry stand for something that is to stay, as the CachedImages say. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from hooks.refresh import earlier
from kube.types import Object, part
from registry.digest import Digest, InvalidDigest
from registry.proxied import PRIVATE_SEGMENT, inside
from registry.reference import InvalidReference, Reference

PUBLIC, PRIVATE = "Public", "Private"


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A tag of the registry."""

    repository: str
    tag: str

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}"

    @classmethod
    def parse(cls, text: str) -> "Place":
        """What `str` gives."""
        repository, _, tag = text.rpartition(":")
        return cls(repository, tag)

    def at(self, host: str) -> Reference:
        """As the registry at `host` is asked for it."""
        return Reference(host, self.repository, self.tag)

    @property
    def private(self) -> bool:
        """Whether it is among the private images."""
        return self.repository.startswith(f"{PRIVATE_SEGMENT}/")


def places(image: Object, now: datetime) -> frozenset[Place]:
    """The tags that stand for a CachedImage: its own, and the anchors of its digest and of earlier ones that are due
    to stay.

    They are where it was copied to; while that is not known, public and private places both count. One that is on its
    way out counts as long as it exists. Empty for what names no image.
    """
    try:
        reference = Reference.parse(str(part(image, "spec").get("image")))
    except InvalidReference:
        return frozenset()
    named = [reference, *(reference.with_digest(digest) for digest in _digests(image, now))]
    return frozenset(Place(place.repository, one.anchor) for one in named for place in _repositories(one, image))


def kept(images: Iterable[Object], now: datetime) -> frozenset[Place]:
    """The tags that stand for any of the CachedImages."""
    return frozenset().union(*(places(image, now) for image in images))


def named(identities: Iterable[str]) -> frozenset[Place]:
    """The tags that may stand for images by these names, public or private: it is not known as which."""
    found: set[Place] = set()
    for text in identities:
        try:
            reference = Reference.parse(text)
        except InvalidReference:
            continue
        found |= {Place(place.repository, reference.anchor) for place in _repositories(reference, {})}
    return frozenset(found)


def _digests(image: Object, now: datetime) -> Iterator[Digest]:
    before = (one.digest for one in earlier(image) if one.until > now)
    for text in (part(image, "status").get("digest"), *before):
        try:
            yield Digest.parse(str(text))
        except InvalidDigest:
            continue


def _repositories(reference: Reference, image: Object) -> Iterator[Reference]:
    copied_as = part(image, "status").get("copiedAs")
    for private in (False, True):
        if copied_as == (PUBLIC if private else PRIVATE):
            continue
        try:
            yield inside(reference, "registry", private=private)
        except InvalidReference:  # a name too long, under which nothing was copied either
            continue
