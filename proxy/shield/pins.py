"""Tags that policy pins: an image that is not to follow upstream keeps the digest that was copied, for all who pull it.

`spec.refresh.mode` of a CachedImage says so: Ignore and Warn keep what was copied, Sync follows.
"""

from collections.abc import Iterable, Mapping

from kube.types import Object, part
from registry.digest import Digest, InvalidDigest
from registry.reference import InvalidReference, Reference

_KEPT = frozenset({"Ignore", "Warn"})


def pinned(images: Iterable[Object]) -> Mapping[Reference, Digest]:
    """The digest of each tag that is pinned. What was not copied yet is not: the first pull decides."""
    return {pin[0]: pin[1] for image in images if (pin := _pin(image))}


def what_pins(image: Object) -> Object:
    """Of a CachedImage what `pinned` reads; of one that is not pinned only its name, as there are many."""
    if not _pin(image):
        return {"metadata": {"name": part(image, "metadata").get("name")}}
    spec, status = part(image, "spec"), part(image, "status")
    return {
        "metadata": {"name": part(image, "metadata").get("name")},
        "spec": {"image": spec["image"], "refresh": {"mode": part(spec, "refresh")["mode"]}},
        "status": {"digest": status["digest"]},
    }


def _pin(image: Object) -> tuple[Reference, Digest] | None:
    spec = part(image, "spec")
    if part(spec, "refresh").get("mode") not in _KEPT:
        return None
    try:
        reference = Reference.parse(str(spec.get("image")))
        digest = Digest.parse(str(part(image, "status").get("digest")))
    except (InvalidReference, InvalidDigest):
        return None
    return None if reference.digest else (reference, digest)
