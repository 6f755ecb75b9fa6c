"""What a namespace uses, in as many ImageInventories as it takes: one for most, several where there are many images.

Metacontroller keeps what it applied in an annotation, and the API server takes at most 256 KiB of those. Which part an
image is in follows from the image and the number of parts alone, and each part says how many there are: so who reads
them while they are written knows that some are missing, and never takes an image for unused that only moved.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from kube.types import Object, metadata, part

BUDGET = 128 * 1024
"""Bytes of the images of one part, as JSON."""
MOST = 256
"""Parts of one namespace: some hundred thousand images."""

_ESCAPED = (b"<", b">", b"&")  # Go writes six bytes for each


def split(entries: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """The images in parts, each in the order that was given; as few parts as fit, in powers of two."""
    if _bytes(entries) <= BUDGET:  # as nearly always, so nothing else is asked
        return [list(entries)]
    sized = [(entry, _bytes(entry), _hash(entry["image"])) for entry in entries]
    count = 2
    while count < MOST and max(_sizes(sized, count)) > BUDGET:
        count *= 2
    parts: list[list[Mapping[str, Any]]] = [[] for _ in range(count)]
    for entry, _, digits in sized:
        parts[digits % count].append(entry)
    return parts


def name_of(namespace: str, number: int) -> str:
    """The ImageInventory of the part with that number, from 1; a namespace's name has no dot."""
    return namespace if number == 1 else f"{namespace}.{number}"


def namespace_of(inventory: Object) -> str:
    """The namespace that an ImageInventory is about, by its name."""
    return str(metadata(inventory)["name"]).partition(".")[0]


def all_there(inventories: Iterable[Object]) -> bool:
    """Whether these ImageInventories of one namespace are all of its parts, and agree how many those are."""
    found = {str(metadata(one)["name"]): part(one, "spec").get("parts", 1) for one in inventories}
    count = next(iter(found.values()), None)
    if not isinstance(count, int) or isinstance(count, bool) or not 0 < count <= MOST:
        return False
    namespace = next(iter(found)).partition(".")[0]
    wanted = {name_of(namespace, number) for number in range(1, count + 1)}
    return found.keys() == wanted and all(said == count for said in found.values())


def _sizes(sized: Iterable[tuple[Any, int, int]], count: int) -> list[int]:
    sizes = [0] * count
    for _, size, digits in sized:
        sizes[digits % count] += size
    return sizes


def _bytes(said: Any) -> int:
    text = orjson.dumps(said)
    return len(text) + 5 * sum(map(text.count, _ESCAPED)) + 1


def _hash(image: str) -> int:
    return int.from_bytes(hashlib.sha256(image.encode()).digest()[:4])
