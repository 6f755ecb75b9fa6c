"""The shield's disk: a bounded folder of blobs and manifests by digest, of which the least recently used leave."""

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from registry.blobs import PIECE, BlobFolder, announced
from registry.digest import Digest
from registry.errors import Corrupt, NotFound, RegistryError
from registry.ingest import Ingest

PARTIAL_LIFETIME = 3600.0
"""Seconds for which what came of a broken transfer is kept, so that it can go on there."""
PROVEN_FIRST = 64 << 20
"""Bytes up to which content found at the start is hashed before the first reader gets any: a few tenths of a second."""
LOOK_AGAIN = 10.0
"""Seconds after which the folder is read anew: another process may share it."""


@dataclass(frozen=True, slots=True)
class SpoolTally:
    """The spool's use now, in bytes and entries, and what left it since the process began."""

    used: int
    capacity: int
    entries: int
    evictions: int
    evicted_bytes: int
    damaged: int


class Spool:
    """At most `max_bytes` of content, for many threads, and for processes that share the folder.

    What was there at the start is hashed when it is first asked for: the machine may have lost power since. The time of
    a file is that of its last use, by which all processes know what leaves first. A full disk is a miss, not an error.
    `clock` gives Unix time.
    """

    def __init__(
        self,
        folder: BlobFolder,
        max_bytes: int,
        clock: Callable[[], float] = time.time,
        proven_first: int = PROVEN_FIRST,
    ) -> None:
        self.max_bytes = max_bytes
        self._folder = folder
        self._clock = clock
        self._proven_first = proven_first
        self._lock = threading.RLock()
        self._coming: dict[Digest, int] = {}
        self._proven: set[Digest] = set()
        self._sizes: OrderedDict[Digest, int] = OrderedDict()
        self._kept = 0
        self._broken = 0
        self._looked = 0.0
        self._evictions = self._evicted_bytes = self._damaged = 0
        self._look()
        self._make_room()

    @property
    def used(self) -> int:
        """Bytes kept, left of broken transfers, or promised to transfers under way."""
        with self._lock:
            return self._kept + self._broken + sum(self._coming.values())

    @property
    def folder(self) -> Path:
        """Where it is."""
        return self._folder.root

    def tally(self) -> SpoolTally:
        """The numbers now."""
        with self._lock:
            return SpoolTally(
                self.used, self.max_bytes, len(self._sizes), self._evictions, self._evicted_bytes, self._damaged
            )

    def digests(self) -> tuple[Digest, ...]:
        """What is kept, the least recently used first."""
        with self._lock:
            return tuple(self._sizes)

    def open(self, digest: Digest) -> BinaryIO | None:
        """Proven content for reading, which now counts as used; None where it is not kept. Files stay readable.

        Also None for large content that is still to be proven: see `unproven`.
        """
        size = self.size(digest)
        if size is None or (digest not in self._proven and size > self._proven_first):
            return None
        file = self._opened(digest)
        if file is None or digest in self._proven:
            return file
        try:
            self.prove(digest, file)
        except (Corrupt, OSError):
            file.close()
            return None
        return file

    def unproven(self, digest: Digest) -> BinaryIO | None:
        """Content that was found here and is still to be proven, for reading: but for its last byte it may be shown."""
        return self._opened(digest) if self.size(digest) is not None and digest not in self._proven else None

    def prove(self, digest: Digest, file: BinaryIO) -> None:
        """Hash what `unproven` gave; raises Corrupt, and the content is dropped, when it is something else."""
        hasher, at = digest.hasher(), 0
        while piece := os.pread(file.fileno(), PIECE, at):
            hasher.update(piece)
            at += len(piece)
        if not digest.matches(hasher):
            self.drop([digest])
            with self._lock:
                self._damaged += 1
            raise Corrupt(f"what the spool had as {digest} was damaged on the disk")
        with self._lock:
            self._proven.add(digest)

    def size(self, digest: Digest) -> int | None:
        """Bytes of what is kept, None where it is not."""
        with self._lock:
            return self._sizes.get(digest)

    def reserve(self, digest: Digest, size: int, have: int = 0) -> bool:
        """Make room for content that comes, of which `have` bytes are there; False where there cannot be enough."""
        with self._lock:
            self._look(LOOK_AGAIN)
            others = sum(self._coming.values()) - self._coming.get(digest, 0)
            if others + size > self.max_bytes:
                return False
            self._coming[digest] = size
            self._make_room()
            if self._make_disk_room(size - have):
                return True
            del self._coming[digest]
            return False

    def ingest(self, digest: Digest) -> Ingest:
        """Begin or resume to write content; call `settled` when it ended, however it did.

        Raises StoreFull, and Held where another process brings it now.
        """
        return self._folder.ingest(digest, wait=False)

    def partial(self, digest: Digest) -> Path:
        """Where the bytes that came so far are."""
        return self._folder.partial(digest)

    def announced(self, digest: Digest) -> int | None:
        """The size of content that comes, where the process that brings it, or brought some of it, said so."""
        return announced(self._folder.partial(digest))

    def settled(self, digest: Digest) -> None:
        """A transfer ended, here or in another process: what is there now counts, what was promised no longer."""
        size = self._folder.size(digest)
        with self._lock:
            self._coming.pop(digest, None)
            if size is not None:
                if digest not in self._sizes:  # what is new to this process came through an ingest, and so was proven
                    self._proven.add(digest)
                self._count(digest, size)
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
                self._kept -= self._sizes.pop(digest, 0)
                with suppress(OSError):
                    freed += self._folder.remove(digest)
            return freed

    def clear(self) -> int:
        """Forget everything, broken transfers too; the bytes that this frees."""
        freed = self.drop(self.digests()) + self._folder.discard_partials(self._clock() + 1)
        self._look()
        return freed

    def _look(self, after: float = 0.0) -> None:
        """Read the folder, where that is `after` seconds ago."""
        now = self._clock()
        if after and now < self._looked + after:
            return
        self._looked = now
        self._folder.discard_partials(now - PARTIAL_LIFETIME)
        found: list[tuple[int, Digest, int]] = []
        for digest in self._folder.digests():
            with suppress(FileNotFoundError):
                status = self._folder.path(digest).stat()
                found.append((status.st_mtime_ns, digest, status.st_size))
        self._sizes = OrderedDict((digest, size) for _, digest, size in sorted(found))
        self._kept = sum(self._sizes.values())
        self._proven &= self._sizes.keys()
        self._broken = self._left()

    def _left(self) -> int:
        """Bytes of transfers that broke, and those that other processes bring now."""
        return sum(size for digest, size in self._folder.partials().items() if digest not in self._coming)

    def _count(self, digest: Digest, size: int) -> None:
        self._kept += size - self._sizes.get(digest, 0)
        self._sizes[digest] = size
        self._sizes.move_to_end(digest)

    def _make_room(self) -> None:
        if self._broken and self.used > self.max_bytes:
            self._folder.discard_partials(self._clock() + 1)
            self._broken = self._left()
        while self._sizes and self.used > self.max_bytes:
            self._drop_oldest()

    def _make_disk_room(self, size: int) -> bool:
        """Others may fill the disk too, so that there is less room than was set."""
        try:
            disk = os.statvfs(self._folder.root.parent)
        except OSError:
            return True  # writing will tell
        short = size - disk.f_bavail * disk.f_frsize
        while short > 0 and self._sizes:
            short -= self._drop_oldest()
        return short <= 0

    def _drop_oldest(self) -> int:
        freed = self.drop([next(iter(self._sizes))])
        self._evictions += 1
        self._evicted_bytes += freed
        return freed

    def _opened(self, digest: Digest) -> BinaryIO | None:
        with self._lock:
            if digest in self._sizes:
                self._sizes.move_to_end(digest)
        try:
            file = self._folder.open(digest)
        except NotFound:  # another process dropped it
            self.drop([digest])
            return None
        except OSError:  # a disk that cannot read, or too many open files: a miss, and nothing is known of the content
            return None
        now = time.time_ns()  # the kernel's own clock for files is coarse: the order of use would be lost in it
        with suppress(OSError):
            os.utime(file.fileno(), ns=(now, now))
        return file


def read_all(file: BinaryIO, limit: int) -> bytes:
    """Content of at most `limit` bytes; raises RegistryError for more."""
    with file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise RegistryError(f"what is stored as a manifest has more than {limit} bytes")
    return content
