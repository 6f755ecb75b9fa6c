"""From upstream into the spool: what the thread of a fetch does."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from proxy.breaker import Breakers
from proxy.shield.fetch import Fetch
from proxy.shield.spool import Spool
from registry.blobstream import BlobStream
from registry.client import Client
from registry.digest import Digest
from registry.errors import Corrupt, RegistryError, StoreFull
from registry.ingest import Ingest
from registry.reference import Reference

_MOST_REMEMBERED = 1024


class Filler:
    """Fills fetches, for many threads, each with a fetch of its own."""

    def __init__(self, client: Client, spool: Spool, breakers: Breakers) -> None:
        self._client = client
        self._spool = spool
        self._breakers = breakers
        self._too_large: dict[Digest, None] = {}

    def knows_too_large(self, digest: Digest) -> bool:
        """Whether the blob was seen to be larger than the whole spool, so that asking for it again is in vain."""
        return digest in self._too_large

    def fill(self, fetch: Fetch, reference: Reference) -> int:
        """Bring the blob into the spool, resuming what an earlier fetch left; its size in bytes.

        Raises StoreFull when the spool cannot take it, Corrupt (then nothing is kept), and what upstream says.
        """
        try:
            with self._ingest(fetch.digest) as ingest:
                if not ingest.done:
                    with self._open(ingest, reference) as stream:
                        self._receive(fetch, ingest, stream)
                return ingest.offset
        finally:
            self._spool.settled(fetch.digest)

    def _ingest(self, digest: Digest) -> Ingest:
        with storing():
            return self._spool.ingest(digest)

    def _open(self, ingest: Ingest, reference: Reference) -> BlobStream:
        with self._breakers.guard(reference.host):
            try:
                return self._client.open_blob(reference, ingest.digest, ingest.offset)
            except Corrupt:  # more bytes are here than the blob has
                ingest.restart()
                return self._client.open_blob(reference, ingest.digest)

    def _receive(self, fetch: Fetch, ingest: Ingest, stream: BlobStream) -> None:
        self._admit(ingest, stream)
        with storing():
            fetch.answered(stream.size, ingest.path.open("rb", buffering=0), ingest.offset)
        try:
            for piece in stream:
                self._keep(ingest, piece)
                fetch.advanced(ingest.offset)
            with storing():
                ingest.commit()
        except StoreFull:
            _empty(ingest)
            raise

    def _admit(self, ingest: Ingest, stream: BlobStream) -> None:
        ingest.size = stream.size
        if stream.size is None or self._spool.reserve(ingest.digest, stream.size):
            return
        if stream.size > self._spool.max_bytes:
            self._too_large = dict.fromkeys([*self._too_large, ingest.digest][-_MOST_REMEMBERED:])
        _empty(ingest)
        raise StoreFull(f"blob {ingest.digest} has {stream.size} bytes, more than the spool has room for")

    def _keep(self, ingest: Ingest, piece: bytes) -> None:
        with storing():
            ingest.write(piece)
        if ingest.size is None and not self._spool.reserve(ingest.digest, ingest.offset):
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
