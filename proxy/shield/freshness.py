"""What is known of a tag and how long that may be told without asking upstream: decisions only, no clock, no I/O."""

from dataclasses import dataclass, replace
from enum import Enum, auto

from registry.errors import NotFound, RegistryError, Unauthorized
from registry.manifest import Descriptor

DEFAULT_FRESHNESS = 60.0
RETRY_AFTER_FAILURE = 10.0
"""Seconds for which a failed revalidation is not tried again, while the last answer is told."""
REMEMBER_ABSENCE = 5.0
"""Seconds for which upstream's 404 or 401 is told again without asking."""


class Verdict(Enum):
    """What to do with a question about a tag."""

    ASK = auto()
    TELL = auto()
    REFUSE = auto()


@dataclass(frozen=True, slots=True)
class TagState:
    """The last that was heard of one tag: where it points, or why not. `until` is when to ask again, in seconds.

    It is `stale` when upstream was asked since, and did not say.
    """

    descriptor: Descriptor | None = None
    refusal: RegistryError | None = None
    until: float = float("-inf")
    stale: bool = False

    def verdict(self, now: float) -> Verdict:
        """Whether to ask upstream, or to tell what is known."""
        if now >= self.until:
            return Verdict.ASK
        return Verdict.TELL if self.descriptor else Verdict.REFUSE


UNHEARD = TagState()


def from_before(descriptor: Descriptor) -> TagState:
    """State of which an earlier process was told: upstream is asked first, and only its silence lets it be told."""
    return TagState(descriptor, stale=True)


def heard(descriptor: Descriptor, now: float, freshness: float) -> TagState:
    """State after upstream said where the tag points."""
    return TagState(descriptor, None, now + freshness)


def failed(before: TagState, error: RegistryError, now: float) -> TagState:
    """State after asking failed.

    That the image is gone or closed is upstream's answer, and told as such. Anything else says nothing about the tag:
    what was known stays, stale, and is told until upstream speaks again.
    """
    if isinstance(error, (NotFound, Unauthorized)):
        return TagState(None, error, now + REMEMBER_ABSENCE)
    if before.descriptor:
        return replace(before, until=now + RETRY_AFTER_FAILURE, stale=True)
    return UNHEARD
