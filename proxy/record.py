"""What proxy and shield tell whoever counts: plain data through a protocol, so that nothing here knows Prometheus."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from proxy.story import Asked, Resumed

SERVED = "Served"
CLIENT_LEFT = "ClientLeft"
BROKEN_OFF = "BrokenOff"


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request from its first byte to the last of its answer.

    `kind` is the path's word (`manifests`, `blobs`...), `base` for `/v2/` and `none` for what is no path of the API.
    `outcome` is Served, ClientLeft, BrokenOff or the reason of an error. `source` is who answered, empty for nobody.
    `image` is the repository (`host/name`) and `what` the image as a user writes it. The body begins at byte `start` of
    the whole. What was `rehearsed` spared
    upstream nothing. Times are in seconds from its begin: `first` until the answer began.
    """

    method: str
    kind: str
    source: str
    outcome: str
    sent: int
    first: float
    whole: float
    start: int = 0
    image: str = ""
    what: str = ""
    tag: bool = False
    rehearsed: bool = False
    asked: Sequence[Asked] = ()
    resumed: Sequence[Resumed] = ()

    def shares(self) -> Iterator[tuple[str, int]]:
        """The bytes sent, by who gave them: a transfer that broke has several."""
        source, at, end = self.source, self.start, self.start + self.sent
        for turn in self.resumed:
            until = min(turn.at, end)
            if until > at:
                yield turn.broken, until - at
            source, at = turn.source, max(until, at)
        if end > at:
            yield source, end - at


class Recorder(Protocol):
    """Counts; threads call it, and it never raises."""

    def begun(self) -> None:
        """A request came; `ended` follows."""

    def asks(self, image: str) -> None:
        """It asks for something of this repository (`host/name`); not all requests do."""

    def ended(self, exchange: Exchange) -> None:
        """Its answer was sent, or not."""


class Silent:
    """Counts nothing."""

    def begun(self) -> None:
        """Nothing."""

    def asks(self, image: str) -> None:
        """Nothing."""

    def ended(self, exchange: Exchange) -> None:
        """Nothing."""


SILENT = Silent()
