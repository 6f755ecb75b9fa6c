"""A finding: one thing that was looked at, how it is, and what to do."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Level(Enum):
    """How a thing is. Unknown is no fault: nobody could look, and `what` says why."""

    OK = "ok"
    WARN = "warning"
    FAIL = "fails"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """`check` names what was looked at, in one word; `what` says what was found, `do` what to do about it."""

    check: str
    level: Level
    what: str
    do: str = ""

    def document(self) -> Mapping[str, Any]:
        """As programs read it."""
        said = {"check": self.check, "level": self.level.value, "what": self.what}
        return {**said, **({"do": self.do} if self.do and self.level is not Level.OK else {})}
