"""Images that are to leave the registry at once: which of them this volume still has to remove. Pure."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from hooks.removal import REMOVE, wished
from hooks.volumes import PREFIX, REMOVED, reports
from kube.types import Object, annotations, metadata, part
from kuik.keeper.kept import Place, places
from registry.reference import InvalidReference, Reference

FORCE = "force"


@dataclass(frozen=True, slots=True)
class Wish:
    """A CachedImage whose tags are to go from this volume. `settled` where its annotation has had its effect then."""

    name: str
    digest: str
    places: frozenset[Place]
    refused: str = ""
    settled: bool = False


def wishes(images: Iterable[Object], volume: str, in_use: Collection[str], now: datetime) -> list[Wish]:
    """What people and stage 2 want removed and this volume did not report as removed yet.

    `in_use` are the identities of the images that pods use now. An image in use stays, unless it was forced: then it is
    copied anew afterwards.
    """
    found = (_wish(image, volume, in_use, now) for image in images if _asked(image))
    return [one for one in found if one is not None]


def asked(images: Iterable[Object], volume: str) -> bool:
    """Whether there may be something to remove, so that it is worth a look at the pods."""
    return any(_asked(image) and not _done(image, volume) for image in images)


def _asked(image: Object) -> bool:
    spec = part(image, "spec")
    return wished(image) or (bool(spec.get("remove")) and spec.get("retain") is not True)


def _done(image: Object, volume: str) -> bool:
    said = reports(image).get(volume)
    return said is not None and said.state == REMOVED and said.digest == _digest(image)


def _wish(image: Object, volume: str, in_use: Collection[str], now: datetime) -> Wish | None:
    name, digest = str(metadata(image)["name"]), _digest(image)
    if _done(image, volume) or not digest:
        return None
    forced = annotations(image).get(REMOVE) == FORCE
    users = _users(image, in_use)
    if users and not forced:
        return Wish(name, digest, frozenset(), refused=users)
    return Wish(name, digest, places(image, now), settled=bool(users) and _all_others_done(image, volume))


def _all_others_done(image: Object, volume: str) -> bool:
    """Whether every other volume that ever spoke of the image has removed it."""
    others = {name.removeprefix(PREFIX) for name in annotations(image) if name.startswith(PREFIX)} - {volume}
    return all(_done(image, other) for other in others)


def _users(image: Object, in_use: Collection[str]) -> str:
    """Who uses the image, in words; empty where nobody does."""
    spec = part(image, "spec")
    named = spec.get("usedBy")
    if isinstance(named, list) and named:
        return f"it is used by {named[0]}"
    if spec.get("users"):
        return "workloads use it"
    try:
        identity = str(Reference.parse(str(spec.get("image"))).identity)
    except InvalidReference:
        return ""
    return "a pod uses it" if identity in in_use else ""


def _digest(image: Object) -> str:
    return str(part(image, "status").get("digest") or "")
