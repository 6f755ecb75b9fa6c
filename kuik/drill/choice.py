"""Which images a drill reads. Pure: the same seed reads the same ones."""

import random
from collections.abc import Iterable

from kuik.drill.needs import Need
from kuik.drill.question import Question


def chosen(needs: Iterable[Need], count: int | None, seed: int) -> list[Question]:
    """`count` of the images that the cache says it has (None: all), each once for all platforms that it is needed for.

    Those in doubt come first, the rest by lot.
    """
    found: dict[str, Question] = {}
    doubted: set[str] = set()
    for one in needs:
        if one.read:
            before = found.get(one.image, Question(one.image))
            found[one.image] = Question(one.image, before.platforms | one.platforms, one.capability)
            doubted |= {one.image} if one.doubt else set()
    order = sorted(found)
    random.Random(seed).shuffle(order)  # noqa: S311 - a lot that can be drawn again
    order.sort(key=lambda image: image not in doubted)
    return [found[image] for image in order[:count]]
