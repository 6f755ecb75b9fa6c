"""Images that leave the registry before their retention is over: by a person's wish, or to make room."""

from hooks.volumes import REMOVED, noted
from kube.types import Object, annotations, part

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


def gone(image: Object, known: frozenset[str]) -> bool:
    """Whether every known volume said that it has removed the image; never where no volume is known."""
    removed = {one.volume for one in noted(image) if one.state == REMOVED}
    return bool(known) and known <= removed
