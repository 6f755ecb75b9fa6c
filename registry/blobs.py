"""A content-addressed folder of blobs on disk.

A blob is under its name only after its size and digest were proven (see Ingest), so whatever is in the folder may be
served.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from registry.digest import HEX_LENGTH, Digest, InvalidDigest
from registry.durable import file_size
from registry.errors import NotFound
from registry.ingest import ANNOUNCED, PIECE, Held, Ingest, announced, discard_partial

__all__ = ["PIECE", "BlobFolder", "Held", "Ingest", "announced"]


class BlobFolder:
    """Blobs as `root/<algorithm>/<hex>`; the parent of `root` must be on the same file system, and writable."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._partials = root.with_name(f"{root.name}.ingest")
        self.damaged = root.with_name(f"{root.name}.damaged")
        """Where blobs are put aside whose bytes proved wrong."""

    def path(self, digest: Digest) -> Path:
        """Where this blob is, or would be."""
        return self.root / digest.algorithm / digest.hex

    def size(self, digest: Digest) -> int | None:
        """The blob's size in bytes; None when it is not there."""
        return file_size(self.path(digest))

    def open(self, digest: Digest) -> BinaryIO:
        """The blob for reading; raises NotFound."""
        try:
            return self.path(digest).open("rb")
        except FileNotFoundError as error:
            raise NotFound(f"blob {digest} is not in the store") from error

    def digests(self) -> Iterator[Digest]:
        """Every blob that is there, in no order."""
        for algorithm in HEX_LENGTH:
            with suppress(FileNotFoundError), os.scandir(self.root / algorithm) as entries:
                for entry in entries:
                    with suppress(InvalidDigest):
                        yield Digest.parse(f"{algorithm}:{entry.name}")

    def ingest(self, digest: Digest, size: int | None = None, *, wait: bool = True) -> Ingest:
        """Begin or resume to store a blob of `size` bytes.

        Waits while another thread or process ingests the same digest, or raises Held. Raises StoreFull.
        """
        return Ingest(self.path(digest), self.partial(digest), digest, size, wait=wait)

    def partial(self, digest: Digest) -> Path:
        """Where the bytes of a blob that is still coming are, or would be."""
        return self._partials / f"{digest.algorithm}-{digest.hex}"

    def partials(self) -> dict[Digest, int]:
        """Blobs that are coming, or whose transfer broke: the bytes each will have, or has so far if nobody says."""
        found: dict[Digest, int] = {}
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(self._partials) as entries:
            for entry in entries:
                with suppress(InvalidDigest, FileNotFoundError):
                    digest = Digest.parse(entry.name.replace("-", ":", 1))
                    found[digest] = max(entry.stat().st_size, announced(self.partial(digest)) or 0)
        return found

    def put(self, digest: Digest, content: bytes) -> None:
        """Store a small blob, such as a manifest, whose bytes are at hand; raises Corrupt, StoreFull."""
        with self.ingest(digest, len(content)) as ingest:
            if not ingest.done:
                ingest.restart()
                ingest.write(content)
                ingest.commit()

    def remove(self, digest: Digest) -> int:
        """Delete a blob; the bytes that this frees, 0 when it was not there."""
        size = self.size(digest)
        if size is None:
            return 0
        self.path(digest).unlink(missing_ok=True)
        return size

    def discard_damaged(self, before: float) -> int:
        """Delete what was put aside as damaged and last changed before `before` (Unix time); the bytes freed."""
        freed = 0
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(self.damaged) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                if entry.is_file(follow_symlinks=False) and status.st_ctime < before:
                    Path(entry.path).unlink(missing_ok=True)
                    freed += status.st_size
        return freed

    def discard_partials(self, before: float) -> int:
        """Delete interrupted ingests last written before `before` (Unix time) that nobody holds; the bytes freed."""
        if not self._partials.is_dir():
            return 0
        freed = 0
        for path in list(self._partials.iterdir()):
            if path.suffix != ANNOUNCED:
                freed += discard_partial(path, before)
            elif not path.with_suffix("").exists():
                path.unlink(missing_ok=True)
        return freed
