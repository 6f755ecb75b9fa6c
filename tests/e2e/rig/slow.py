"""An upstream registry that gives a little of each blob now and then, until it is told to hurry."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.rig.faulty import Relay, trickle
from tests.rig.upstream import Upstream

_PIECE = 8 << 10


@dataclass
class Slow:
    """What stands in front of the registry: once `hurry` is set, blobs come as fast as they can."""

    relay: Relay
    hurry: threading.Event = field(default_factory=threading.Event)

    def asked(self) -> int:
        """How many blobs it was asked for, also those that still come."""
        return self.relay.count("GET", "/blobs/")


@contextmanager
def slow(upstream: Upstream) -> Iterator[Slow]:
    """Meanwhile each blob comes at 32 KiB a second, and all the rest as ever."""
    known = upstream.known
    assert known
    upstream.stop()
    behind = Upstream(upstream.folder).start()  # the same data, and one log of what was asked
    tls = (known.certificate, known.key)
    slowed = Slow(Relay(behind.host, tls=tls, port=upstream.port, address=upstream.address))
    slowed.relay.rule(trickle(slowed.hurry, _PIECE, 0.25), method="GET", path="/blobs/", times=None)
    try:
        yield slowed
    finally:
        slowed.hurry.set()
        slowed.relay.close()
        behind.stop()
        upstream.start()
