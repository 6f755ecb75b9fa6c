"""Images that leave the registry before their retention is over: by a person's wish, or to make room."""

from hooks.capacity import Room
from hooks.eviction import EVICTED
from hooks.volumes import REMOVED, noted
from kube.types import Object, annotations, parse_time, part

REMOVE = "kuik.dev/remove"
"""The annotation by which a person says so; keepers act on it where the image is not in use, or where it is forced."""

WISHES = ("true", "force")


def wished(image: Object) -> bool:
    """Whether somebody wants this CachedImage out of the registry; what people retain stays, whatever else is said."""
    return annotations(image).get(REMOVE) in WISHES and part(image, "spec").get("retain") is not True


def leaves(image: Object) -> bool:
    """Whether a CachedImage is on its way out, so that it is not copied again: nothing uses it, and it is to go."""
    spec = part(image, "spec")
    if spec.get("usedBy") or spec.get("users") or spec.get("retain") is True:
        return False
    return bool(spec.get("remove")) or wished(image)


def gone(image: Object) -> bool:
    """Whether every volume has removed the image; never where no keeper speaks."""
    stand = noted(image)
    return bool(stand) and all(one.state == REMOVED for one in stand)


def begun(image: Object) -> bool:
    """Whether a volume has removed the image already."""
    return any(one.state == REMOVED for one in noted(image))


def done(image: Object, room: Room) -> bool:
    """Whether the CachedImage of an image that leaves is of no use any more.

    One that leaves to make room stays until garbage was collected, by the volume's own clock: until then the room that
    it makes is on its way, and is counted.
    """
    if not gone(image):
        return False
    if part(image, "spec").get("remove") != EVICTED:
        return leaves(image)
    return all(_not_before(room.collected(one.volume), one.at) for one in noted(image))


def _not_before(one: str, other: str) -> bool:
    collected, removed = parse_time(one), parse_time(other)
    return collected is not None and removed is not None and collected >= removed
