"""What a cache has of an image, as far as a pull needs to know it."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from hooks.conditions import condition, holds
from hooks.refresh import earlier
from kube.types import Object, part, texts
from kuik.archive.sources import LayoutSource, kept_platforms
from registry.digest import Digest, InvalidDigest
from registry.errors import NoPlatform, NotFound, RegistryError
from registry.layout import Layout
from registry.manifest import Platform
from registry.reference import InvalidReference, Reference

NOT_CACHED, ANOTHER_DIGEST, PLATFORM_MISSING, INCOMPLETE = (
    "NotCached",
    "AnotherDigest",
    "PlatformMissing",
    "Incomplete",
)


@dataclass(frozen=True, slots=True)
class Lack:
    """Why the cache cannot give an image: a word, and a sentence."""

    reason: str
    message: str


class Copies(Protocol):
    """A cache."""

    def lack(self, image: Reference, platforms: frozenset[Platform]) -> Lack | None:
        """Why it cannot give the image for each of these platforms (none: those that it keeps); None where it can."""


@dataclass(frozen=True)
class InStore:
    """A store on disk: what is said is what is there."""

    layout: Layout

    def lack(self, image: Reference, platforms: frozenset[Platform]) -> Lack | None:
        try:
            if self.layout.resolve(image) is None:
                return _none(image, {one for one in self.layout.references() if one.name == image.name})
            kept = kept_platforms(LayoutSource(self.layout), image)
            return _other_platforms(kept, platforms) or self._incomplete(image, platforms or kept)
        except NoPlatform as error:
            return Lack(PLATFORM_MISSING, str(error))
        except NotFound as error:
            return Lack(INCOMPLETE, str(error))
        except RegistryError as error:
            return Lack(error.reason, str(error))

    def _incomplete(self, image: Reference, platforms: frozenset[Platform]) -> Lack | None:
        """Each platform is asked for by itself: of several, it is enough for a copy that one is offered."""
        each = [frozenset({one}) for one in sorted(platforms)] or [frozenset[Platform]()]
        missing = {digest for one in each for digest in self.layout.missing(image, one)}
        return Lack(INCOMPLETE, f"the store lacks {len(missing)} parts, such as {min(missing)}") if missing else None


@dataclass(frozen=True)
class InCluster:
    """A cluster's cache, by its CachedImages."""

    images: tuple[Object, ...]
    now: datetime
    _named: Mapping[str, list[Object]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        by_name: dict[str, list[Object]] = {}
        for one in self.images:
            try:
                by_name.setdefault(Reference.parse(str(part(one, "spec").get("image"))).name, []).append(one)
            except InvalidReference:
                continue
        object.__setattr__(self, "_named", by_name)

    def lack(self, image: Reference, platforms: frozenset[Platform]) -> Lack | None:
        beside = self._named.get(image.name, [])
        own = next((one for one in beside if part(one, "spec")["image"] == str(image)), None)
        if own is None and image.digest:
            own = next((one for one in beside if image.digest in self._digests(one)), None)
        if own is None:
            return _none(image, {Reference.parse(str(part(one, "spec")["image"])) for one in beside})
        if not holds(own, "Cached"):
            status, said = part(own, "status"), condition(own, "Cached") or {}
            why = status.get("reason") or said.get("reason") or "Pending"
            message = status.get("message") or said.get("message") or "it is not copied yet"
            return Lack(NOT_CACHED, f"{why}: {message}")
        kept = [one for one in map(_platform, texts(part(own, "status"), "platforms")) if one]
        return _other_platforms(kept, platforms)

    def _digests(self, image: Object) -> set[Digest | None]:
        """The digests that the registry serves because of this CachedImage."""
        found = [part(image, "status").get("digest") if holds(image, "Cached") else None]
        found += [one.digest for one in earlier(image) if one.until > self.now]
        return {_digest(str(one)) for one in found if one}


def _other_platforms(kept: Collection[Platform], platforms: frozenset[Platform]) -> Lack | None:
    """Which of the platforms is not kept, where not all are (an empty `kept`)."""
    for platform in sorted(platforms) if kept else ():
        if not any(one.satisfies(platform) for one in kept):
            return Lack(PLATFORM_MISSING, f"it is kept for {', '.join(map(str, sorted(kept)))}, not for {platform}")
    return None


def _none(image: Reference, beside: Iterable[Reference]) -> Lack:
    """There is no such image; that others of its repository are there may be why nobody noticed."""
    others = sorted(beside)
    if image.digest and others:
        return Lack(ANOTHER_DIGEST, f"the cache has {', '.join(map(str, others[:3]))}, with another digest")
    if others:
        return Lack(NOT_CACHED, f"the cache has {', '.join(map(str, others[:3]))} of that repository")
    return Lack(NOT_CACHED, "the cache has nothing of that name")


def _platform(text: str) -> Platform | None:
    try:
        return Platform.parse(text)
    except ValueError:
        return None


def _digest(text: str) -> Digest | None:
    try:
        return Digest.parse(text)
    except InvalidDigest:
        return None
