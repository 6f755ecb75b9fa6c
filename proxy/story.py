"""What one request went through: who was asked, what each said, and where a broken transfer went on."""

from dataclasses import dataclass, field

from proxy.errors import NotAsked
from registry.errors import RegistryError

ANSWERED = "Answered"
NOT_ASKED = "NotAsked"
TOO_SLOW = "TooSlow"


@dataclass(frozen=True, slots=True)
class Asked:
    """One source's answer: `outcome` is Answered or why not, `seconds` until its first byte or its refusal."""

    source: str
    outcome: str
    seconds: float
    message: str = ""


@dataclass(frozen=True, slots=True)
class Resumed:
    """A transfer that broke and went on: `at` bytes of the whole were there when `broken` gave no more."""

    broken: str
    source: str
    at: int
    outcome: str


@dataclass(slots=True)
class Story:
    """Grows while a request is answered. Threads that answer it add to it."""

    asked: list[Asked] = field(default_factory=list)
    resumed: list[Resumed] = field(default_factory=list)

    def answered(self, source: str, seconds: float) -> None:
        """The source has it."""
        self.asked.append(Asked(source, ANSWERED, seconds))

    def refused(self, source: str, error: RegistryError, seconds: float) -> None:
        """The source has not, or did not say."""
        self.asked.append(Asked(source, outcome_of(error), seconds, str(error)))

    def too_slow(self, source: str, seconds: float) -> None:
        """The source was given `seconds`, and others are asked now."""
        self.asked.append(Asked(source, TOO_SLOW, seconds))

    def went_on(self, broken: str, source: str, at: int, error: RegistryError) -> None:
        """The rest comes from `source`."""
        self.resumed.append(Resumed(broken, source, at, outcome_of(error)))


def outcome_of(error: RegistryError) -> str:
    """The reason, as in a CachedImage's status; NotAsked for a source that is left alone."""
    return NOT_ASKED if isinstance(error, NotAsked) else error.reason
