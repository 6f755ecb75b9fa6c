"""Which stored images nobody asks for any more."""

from collections.abc import Iterable

from registry.reference import Reference


def sweep(tags: Iterable[Reference], wanted: Iterable[Reference]) -> tuple[Reference, ...]:
    """The tags, in order of name, that stand for none of the `wanted` images.

    A tag stands for an image of its repository by the image's anchor: so the tag `digest-<hex>` of a registry and a
    reference with that digest are the same.
    """
    kept = {_key(reference) for reference in wanted}
    return tuple(sorted((tag for tag in set(tags) if _key(tag) not in kept), key=str))


def _key(reference: Reference) -> tuple[str, str]:
    return reference.name, reference.anchor
