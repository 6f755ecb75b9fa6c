"""What is asked of who reads images in a drill, and what it says: JSON in a variable, and one line of JSON each."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from kuik.check.copies import Lack
from registry.manifest import Platform

MARK = "drill"
"""The key by which a line is known among whatever else a log has."""
MOST_BYTES = 96 * 1024
"""Of the JSON: a variable of a process has at most 128 KiB."""
Line = str | bytes
_MAX_MESSAGE = 400


@dataclass(frozen=True, slots=True)
class Question:
    """One image to be read, for each of these platforms (none: those that are there), with what opens it."""

    image: str
    platforms: frozenset[Platform] = frozenset()
    capability: str = field(default="", repr=False)

    def document(self) -> Mapping[str, Any]:
        """For the variable."""
        wanted = [str(one) for one in sorted(self.platforms)]
        return {"image": self.image, "platforms": wanted, **({"opens": self.capability} if self.capability else {})}

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        """From the variable; raises KeyError, ValueError."""
        wanted = frozenset(map(Platform.parse, document["platforms"]))
        return cls(document["image"], wanted, document.get("opens", ""))


@dataclass(frozen=True, slots=True)
class Said:
    """A line: that an image begins or goes on (`ends` False), or what came of it.

    `bytes` were read for it so far; of a blob that several images share the first one's count. `lack` is why it cannot
    be restored. A line without an image says why nothing can be read at all.
    """

    image: str
    bytes: int = 0
    ends: bool = False
    lack: Lack | None = None

    def line(self) -> str:
        """For the log."""
        lack = [self.lack.reason, self.lack.message[:_MAX_MESSAGE]] if self.lack else None
        return json.dumps({MARK: self.image, "bytes": self.bytes, "ends": self.ends, "lack": lack})

    @classmethod
    def parse(cls, line: Line) -> "Said | None":
        """None for a line that somebody else wrote."""
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            return None
        if not isinstance(found, dict) or not isinstance(found.get(MARK), str):
            return None
        image, count, ends, lack = found[MARK], found.get("bytes"), found.get("ends"), found.get("lack")
        if not isinstance(count, int) or not isinstance(ends, bool):
            return None
        because = Lack(str(lack[0]), str(lack[1])) if isinstance(lack, list) and len(lack) == 2 else None
        return cls(image, count, ends, because)


def written(questions: Iterable[Question]) -> str:
    """The variable's value."""
    return json.dumps([one.document() for one in questions], separators=(",", ":"))


def batches(questions: Sequence[Question]) -> Iterator[tuple[Question, ...]]:
    """The questions in as many parts as variables can hold."""
    now: list[Question] = []
    size = 2
    for one in questions:
        length = len(written([one]))
        if now and size + length > MOST_BYTES:
            yield tuple(now)
            now, size = [], 2
        now.append(one)
        size += length
    if now:
        yield tuple(now)
