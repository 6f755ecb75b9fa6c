"""What hooks and admission tell whoever counts, through a protocol: nothing here knows Prometheus."""

from collections.abc import Sequence
from typing import Protocol

from kube.types import Object

ANSWERED = "Answered"


class HookRecorder(Protocol):
    """Threads call it; it never raises."""

    def hook(self, name: str, stage: str, outcome: str, seconds: float) -> None:
        """A hook (`sync` or `customize`) of a stage was answered, or why not."""

    def cache(self, status: Object) -> None:
        """Stage 2 has answered with this status of the ImageCache."""


class AdmissionRecorder(Protocol):
    """Threads call it; it never raises."""

    def reviewed(self, mode: str, result: str, left: Sequence[str], seconds: float) -> None:
        """A review was answered: `result` is Patched, LeftAlone or NothingAsked; `left` are the rules, one a container.

        A review that could not be read has the result Unreadable.
        """


class Silent:
    """Counts nothing."""

    def hook(self, name: str, stage: str, outcome: str, seconds: float) -> None:
        """Nothing."""

    def cache(self, status: Object) -> None:
        """Nothing."""

    def reviewed(self, mode: str, result: str, left: Sequence[str], seconds: float) -> None:
        """Nothing."""


SILENT = Silent()
