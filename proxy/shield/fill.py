"""From upstream into the spool: what the thread of a fetch does."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from proxy.shield.fetch import Fetch
from proxy.shield.limits import Turns
from proxy.shield.spool import Spool
from registry.blobs import Held
from registry.blobstream import BlobStream
from registry.client import Client
from registry.digest import Digest
from registry.errors import Corrupt, RegistryError, StoreFull
from registry.ingest import Ingest
from registry.reference import Reference

_MOST_REMEMBERED = 1024
LOOK_EVERY = 0.03
"""Seconds between two looks at what another process has written."""
STALLED = 60.0
"""Seconds without a byte from another process after which it is taken to hang, and upstream is asked past it."""


class Filler:
    """Fills fetches, for many threads, each with a fetch of its own."""

    def __init__(self, client: Client, spool: Spool, turns: Turns, sleep: Callable[[float], None] = time.sleep) -> None:
        self._client = client
        self._spool = spool
        self._turns = turns
        self._sleep = sleep
        self._too_large: dict[Digest, None] = {}
        self._resumed = 0
        self._lock = threading.Lock()

    @property
    def resumed(self) -> int:
        """How often a transfer from upstream broke and went on where it broke, also in a later fetch."""
        return self._resumed

    def knows_too_large(self, digest: Digest) -> bool:
        """Whether the blob was seen to be larger than the whole spool, so that asking for it again is in vain."""
        return digest in self._too_large

    def fill(self, fetch: Fetch, reference: Reference) -> int:
        """Bring the blob into the spool, going on where an earlier fetch stopped; its size in bytes.

        What is there already is proven; what another process brings now is followed, and taken over should that process
        die. Raises StoreFull when the spool cannot take it, Corrupt (then nothing is kept), and what upstream says.
        """
        found = self._spool.unproven(fetch.digest)
        if found:
            size = os.fstat(found.fileno()).st_size
            fetch.answered(size, found, size)
            with storing():
                self._spool.prove(fetch.digest, found)
            return size
        try:
            self._show(fetch)
            with self._lead(fetch) as ingest:
                if not ingest.done:
                    with self._turns.transfer(reference.host), self._open(ingest, reference) as stream:
                        self._receive(fetch, ingest, stream)
                return ingest.offset
        finally:
            self._spool.settled(fetch.digest)

    def _count(self, stream: BlobStream, offset: int) -> None:
        with self._lock:
            self._resumed += stream.resumed + (offset > 0)

    def _show(self, fetch: Fetch) -> None:
        """Let readers have what is there of the blob, once its size is known."""
        size = self._spool.announced(fetch.digest) if fetch.size is None else None
        if size is None:
            return
        with suppress(OSError):
            file = self._spool.partial(fetch.digest).open("rb", buffering=0)
            fetch.answered(size, file, min(os.fstat(file.fileno()).st_size, size))

    def _lead(self, fetch: Fetch) -> Ingest:
        """The right to write the blob, or the blob itself; until then what another process writes is followed."""
        written, looks = 0, 0
        while True:
            try:
                with storing():
                    return self._spool.ingest(fetch.digest)
            except Held:
                self._sleep(LOOK_EVERY)
            self._show(fetch)
            before, written = written, self._written(fetch, written)
            looks = 0 if written != before else looks + 1
            if written < before or looks * LOOK_EVERY > STALLED:
                raise StoreFull(f"another process does not bring blob {fetch.digest}")

    def _written(self, fetch: Fetch, before: int) -> int:
        try:
            written = self._spool.partial(fetch.digest).stat().st_size
        except OSError:  # it has just ended, one way or the other
            return before
        if fetch.size is not None:
            fetch.advanced(min(written, fetch.size))
        return written

    def _open(self, ingest: Ingest, reference: Reference) -> BlobStream:
        try:
            return self._client.open_blob(reference, ingest.digest, ingest.offset)
        except Corrupt:  # more bytes are here than the blob has
            ingest.restart()
            return self._client.open_blob(reference, ingest.digest)

    def _receive(self, fetch: Fetch, ingest: Ingest, stream: BlobStream) -> None:
        self._admit(ingest, stream)
        with storing():
            file = ingest.path.open("rb", buffering=0)
        begun = ingest.offset
        fetch.answered(stream.size, file, begun)
        try:
            for piece in stream:
                self._keep(ingest, piece)
                fetch.advanced(ingest.offset)
            with storing():
                ingest.commit()
        except StoreFull:
            _empty(ingest)
            raise
        finally:
            self._count(stream, begun)

    def _admit(self, ingest: Ingest, stream: BlobStream) -> None:
        if stream.size is None:
            return
        if self._spool.reserve(ingest.digest, stream.size, ingest.offset):
            ingest.announce(stream.size)
            return
        if stream.size > self._spool.max_bytes:
            self._too_large = dict.fromkeys([*self._too_large, ingest.digest][-_MOST_REMEMBERED:])
        _empty(ingest)
        raise StoreFull(f"blob {ingest.digest} has {stream.size} bytes, more than the spool has room for")

    def _keep(self, ingest: Ingest, piece: bytes) -> None:
        with storing():
            ingest.write(piece)
        if ingest.size is None and not self._spool.reserve(ingest.digest, ingest.offset, ingest.offset):
            raise StoreFull(f"blob {ingest.digest} has more bytes than the spool has room for")


def _empty(ingest: Ingest) -> None:
    """What is half there and does not go on only fills the disk."""
    with suppress(RegistryError):
        ingest.restart()


@contextmanager
def storing() -> Iterator[None]:
    """A disk that does not take the bytes, for whatever reason, has no room: a miss, not an error."""
    try:
        yield
    except (Corrupt, StoreFull):
        raise
    except (OSError, RegistryError) as error:
        raise StoreFull(f"the spool does not take it: {error}") from error
