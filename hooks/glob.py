"""Patterns for names: `*` stands for any characters, `/` among them, `?` for one; every other character for itself.

No pattern costs more than the length of the name times its own, whatever it looks like: nothing is tried twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

_ANY = "*"
_ONE = "?"


@dataclass(frozen=True)
class Glob:
    """One pattern."""

    pattern: str

    def matches(self, name: str) -> bool:
        """Whether the whole name is one that the pattern stands for."""
        pieces = self._pieces
        if len(pieces) == 1:
            return name == self.pattern
        if not pieces:
            return self._steps.accepts(name)
        first, *middle, last = pieces
        end = len(name) - len(last)
        if len(first) > end or not name.startswith(first) or not name.endswith(last):
            return False
        at = len(first)
        for piece in middle:  # the earliest place for each leaves the most room for those that follow
            at = name.find(piece, at, end)
            if at < 0:
                return False
            at += len(piece)
        return True

    @cached_property
    def head(self) -> str:
        """What every name begins with that the pattern stands for; mostly enough to tell that it does not."""
        return self.pattern.partition(_ANY)[0].partition(_ONE)[0]

    @cached_property
    def _pieces(self) -> tuple[str, ...]:
        """The texts between the stars; none where a `?` asks for another way."""
        return () if _ONE in self.pattern else tuple(self.pattern.split(_ANY))

    @cached_property
    def _steps(self) -> "_Steps":
        return _Steps.of(self.pattern)


@dataclass(frozen=True, slots=True)
class _Steps:
    """The pattern as positions in a number's bits, all of which one addition or shift moves on (Shift-And).

    Bit n is set where the first n characters of the pattern, stars apart, stand for what was read so far.
    """

    after: Mapping[str, int]
    after_any: int
    staying: int
    whole: int

    @classmethod
    def of(cls, pattern: str) -> "_Steps":
        after: dict[str, int] = {}
        after_any = staying = position = 0
        for character in pattern:
            if character == _ANY:
                staying |= 1 << position
                continue
            position += 1
            if character == _ONE:
                after_any |= 1 << position
            else:
                after[character] = after.get(character, 0) | 1 << position
        return cls(after, after_any, staying, 1 << position)

    def accepts(self, name: str) -> bool:
        state = 1
        for character in name:
            state = state << 1 & (self.after.get(character, 0) | self.after_any) | state & self.staying
            if not state:
                return False
        return bool(state & self.whole)


@lru_cache(maxsize=16384)
def glob(pattern: str) -> Glob:
    """The pattern, prepared once however many rules name it."""
    return Glob(pattern)


def fits(patterns: tuple[Glob, ...], name: str) -> bool:
    """Whether one of the patterns stands for the name; no patterns stand for every name."""
    return not patterns or any(name.startswith(pattern.head) and pattern.matches(name) for pattern in patterns)
