"""Upstream as a test watches it: how often it is asked for a blob, and when."""

import time
from dataclasses import dataclass
from pathlib import Path

from tests.rig.faulty import Exchange, Relay
from tests.rig.upstream import Upstream

PIECE, PIECES_A_SECOND = 64 * 1024, 60
"""Upstream's pace, so that a kill has a transfer to hit."""


@dataclass
class Transfer:
    """A blob that upstream has begun to serve; `ended` is when it was sent, or its client had gone."""

    digest: str
    begun: float
    ended: float = float("inf")
    sent: int = 0
    whole: bool = False


class Source:
    """Upstream behind a relay that is slow and takes notes."""

    def __init__(self, folder: Path) -> None:
        self.registry = Upstream(folder).start()
        self.relay = Relay(self.registry.host).rule(self._slowly, method="GET", path="/blobs/", times=None)
        self.transfers: list[Transfer] = []

    def stop(self) -> None:
        self.relay.close()
        self.registry.stop()

    def _slowly(self, exchange: Exchange) -> None:
        note = Transfer(exchange.path.rpartition("/")[2], time.monotonic())
        with exchange.relayed() as response:
            if response.status < 300:
                self.transfers.append(note)
            wanted = {name: response.headers[name] for name in ("Content-Length", "Content-Range", "Content-Type")}
            try:
                exchange.begin(response.status, {name: value for name, value in wanted.items() if value})
                while piece := response.read(PIECE):
                    exchange.write(piece)
                    note.sent += len(piece)
                    if len(piece) == PIECE:
                        exchange.pause(1 / PIECES_A_SECOND)
                note.whole = True
            finally:
                note.ended = time.monotonic()
