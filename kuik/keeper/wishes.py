"""Images that are to leave the registry at once: which of them this volume still has to remove. Pure."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from hooks.removal import REMOVE, leaves, wished
from hooks.volumes import PREFIX, REMOVED, reports
from kube.types import Object, annotations, metadata, part
from kuik.keeper.kept import Place, kept, named, places
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
    forced: bool = False


Asked = frozenset[tuple[str, ...]]
"""What is asked for and on what it hangs: the same is not worth another look soon."""


def wishes(images: Iterable[Object], volume: str, in_use: Collection[str], now: datetime) -> list[Wish]:
    """What people and stage 2 want removed and this volume did not report as removed yet.

    `images` are all CachedImages, `in_use` the identities of the images that pods use now. An image in use stays,
    unless it was forced: then it is copied anew afterwards. A tag that stands for another image as well, such as the
    anchor of a digest that both names have, stays with that one.
    """
    known = list(images)
    found = [wish for image in known if _asked(image) and (wish := _wish(image, volume, in_use, now))]
    going = {one.name for one in found if not one.refused}
    staying = kept((one for one in known if metadata(one)["name"] not in going and not _leaves(one, volume)), now)
    others = staying | named(in_use) if found else staying
    return [replace(one, places=one.places - (staying if one.forced else others)) for one in found]


def asked(images: Iterable[Object], volume: str) -> Asked:
    """What may have to be removed, so that it is worth a look at the pods; empty where there is nothing."""
    return frozenset(_fingerprint(image) for image in images if _asked(image) and not _done(image, volume))


def _fingerprint(image: Object) -> tuple[str, ...]:
    spec = part(image, "spec")
    what = (annotations(image).get(REMOVE), spec.get("remove"), bool(spec.get("usedBy")), bool(spec.get("users")))
    return (str(metadata(image)["name"]), _digest(image), *map(str, what))


def _leaves(image: Object, volume: str) -> bool:
    """Whether the image is removed here already, and nobody wants it back."""
    return _done(image, volume) and leaves(image)


def _asked(image: Object) -> bool:
    spec = part(image, "spec")
    return wished(image) or (bool(spec.get("remove")) and spec.get("retain") is not True)


def _done(image: Object, volume: str) -> bool:
    said = reports(image).get(volume)
    return said is not None and said.state == REMOVED and said.digest == _digest(image)


def _wish(image: Object, volume: str, in_use: Collection[str], now: datetime) -> Wish | None:
    name, digest = str(metadata(image)["name"]), _digest(image)
    if _done(image, volume):
        return None
    forced = annotations(image).get(REMOVE) == FORCE
    users = _users(image, in_use)
    if users and not forced:
        return Wish(name, digest, frozenset(), refused=users)
    settled = bool(users) and _all_others_done(image, volume)
    return Wish(name, digest, places(image, now), settled=settled, forced=forced)


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
