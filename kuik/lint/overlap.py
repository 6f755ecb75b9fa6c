"""Whether one rule is about all that another is about, or about some of it, told from the rules alone."""

from functools import lru_cache

from hooks.glob import Glob
from hooks.rules import Rule


def covers(wide: Rule, narrow: Rule) -> bool:
    """Whether every image of every pod that `narrow` is about is one that `wide` is about; False where that is not
    plain to see."""
    kinds = not wide.owner_kinds or (bool(narrow.owner_kinds) and narrow.owner_kinds <= wide.owner_kinds)
    selected = set(wide.selector.requirements) <= set(narrow.selector.requirements)
    return kinds and selected and _all(wide.images, narrow.images) and _all(wide.namespaces, narrow.namespaces)


def meet(one: Rule, other: Rule) -> bool:
    """Whether there may be an image of a pod that both are about; labels of pods are taken to allow it."""
    kinds = not one.owner_kinds or not other.owner_kinds or bool(one.owner_kinds & other.owner_kinds)
    return kinds and _some(one.images, other.images) and _some(one.namespaces, other.namespaces)


def _all(wide: tuple[Glob, ...], narrow: tuple[Glob, ...]) -> bool:
    return not wide or (bool(narrow) and all(any(_stands_for(each, one) for each in wide) for one in narrow))


def _stands_for(wide: Glob, narrow: Glob) -> bool:
    if "?" in narrow.pattern or "*" in narrow.pattern:
        return wide.pattern == narrow.pattern or not wide.pattern.strip("*")
    return wide.matches(narrow.pattern)


def _some(one: tuple[Glob, ...], other: tuple[Glob, ...]) -> bool:
    return not one or not other or any(intersect(a.pattern, b.pattern) for a in one for b in other)


@lru_cache(maxsize=4096)
def intersect(one: str, other: str) -> bool:
    """Whether there is a name that both patterns stand for."""
    row = [all(character == "*" for character in other[:end]) for end in range(len(other) + 1)]
    for mine in one:
        before, row = row, [row[0] and mine == "*"]
        for at, theirs in enumerate(other):
            if mine == "*" or theirs == "*":  # a star stands for nothing, or goes on over what the other says next
                row.append(row[at] or before[at + 1])
            else:
                row.append(before[at] and (mine == theirs or "?" in (mine, theirs)))
    return row[-1]
