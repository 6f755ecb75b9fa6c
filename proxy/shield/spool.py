"""The shield's disk: a bounded folder of blobs and manifests by digest, of which the least recently used leave."""

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import BinaryIO

from registry.blobs import PIECE, BlobFolder
from registry.digest import Digest
from registry.errors import Corrupt, NotFound, RegistryError
from registry.ingest import Ingest

PARTIAL_LIFETIME = 3600.0
"""Seconds for which what came of a broken transfer is kept, so that it can go on there."""


class Spool:
    """At most `max_bytes` of content, for many threads of one process.

    What was there at the start is hashed when it is first asked for: the machine may have lost power since. A full
    disk is a miss, not an error. `clock` gives Unix time.
    """

    def __init__(self, folder: BlobFolder, max_bytes: int, clock: Callable[[], float] = time.time) -> None:
        self.max_bytes = max_bytes
        self._folder = folder
        self._clock = clock
        self._lock = threading.RLock()
        self._coming: dict[Digest, int] = {}
        self._proven: set[Digest] = set()
        self._sizes = self._found()
        self._folder.discard_partials(clock() - PARTIAL_LIFETIME)
        self._make_room()

    @property
    def used(self) -> int:
        """Bytes kept, or promised to transfers under way."""
        with self._lock:
            return sum(self._sizes.values()) + sum(self._coming.values())

    def digests(self) -> tuple[Digest, ...]:
        """What is kept, the least recently used first."""
        with self._lock:
            return tuple(self._sizes)

    def open(self, digest: Digest) -> BinaryIO | None:
        """Proven content for reading, which now counts as used; None where it is not kept. Files stay readable."""
        with self._lock:
            if digest not in self._sizes:
                return None
            self._sizes.move_to_end(digest)
        try:
            return self._opened(digest)
        except (NotFound, Corrupt):
            self.drop([digest])
        except OSError:  # a disk that cannot read, or too many open files: a miss, and nothing is known of the content
            pass
        return None

    def size(self, digest: Digest) -> int | None:
        """Bytes of what is kept, None where it is not."""
        with self._lock:
            return self._sizes.get(digest)

    def reserve(self, digest: Digest, size: int) -> bool:
        """Make room for content that comes; False where there cannot be enough."""
        with self._lock:
            others = sum(self._coming.values()) - self._coming.get(digest, 0)
            if others + size > self.max_bytes:
                return False
            self._coming[digest] = size
            self._make_room()
            return True

    def ingest(self, digest: Digest) -> Ingest:
        """Begin or resume to write content; call `settled` when it ended, however it did. Raises StoreFull."""
        return self._folder.ingest(digest)

    def settled(self, digest: Digest) -> None:
        """A transfer ended: what is there now counts, what was promised no longer."""
        size = self._folder.size(digest)
        with self._lock:
            self._coming.pop(digest, None)
            if size is not None:
                self._proven.add(digest)
                self._sizes[digest] = size
                self._sizes.move_to_end(digest)
                self._make_room()

    def put(self, digest: Digest, content: bytes) -> None:
        """Keep a manifest; where there is no room for it, it is simply not kept."""
        if not self.reserve(digest, len(content)):
            return
        try:
            with suppress(RegistryError, OSError):
                self._folder.put(digest, content)
        finally:
            self.settled(digest)

    def drop(self, digests: Iterable[Digest]) -> int:
        """Forget content; the bytes that this frees. Who is reading it reads on."""
        with self._lock:
            freed = 0
            for digest in digests:
                self._proven.discard(digest)
                self._sizes.pop(digest, None)
                with suppress(OSError):
                    freed += self._folder.remove(digest)
            return freed

    def clear(self) -> int:
        """Forget everything, broken transfers too; the bytes that this frees."""
        return self.drop(self.digests()) + self._folder.discard_partials(self._clock() + 1)

    def _found(self) -> OrderedDict[Digest, int]:
        found: list[tuple[float, Digest, int]] = []
        for digest in self._folder.digests():
            with suppress(FileNotFoundError):
                status = self._folder.path(digest).stat()
                found.append((status.st_mtime, digest, status.st_size))
        return OrderedDict((digest, size) for _, digest, size in sorted(found))

    def _make_room(self) -> None:
        while self._sizes and self.used > self.max_bytes:
            self.drop([next(iter(self._sizes))])

    def _opened(self, digest: Digest) -> BinaryIO:
        file = self._folder.open(digest)
        try:
            self._prove(digest, file)
        except BaseException:
            file.close()
            raise
        with suppress(OSError):  # the time of use is only for the next start
            os.utime(file.fileno())
        return file

    def _prove(self, digest: Digest, file: BinaryIO) -> None:
        if digest in self._proven:
            return
        hasher, at = digest.hasher(), 0
        while piece := os.pread(file.fileno(), PIECE, at):
            hasher.update(piece)
            at += len(piece)
        if not digest.matches(hasher):
            raise Corrupt(f"what the spool has as {digest} is something else")
        with self._lock:
            self._proven.add(digest)


def read_all(file: BinaryIO, limit: int) -> bytes:
    """Content of at most `limit` bytes; raises RegistryError for more."""
    with file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise RegistryError(f"what is stored as a manifest has more than {limit} bytes")
    return content
