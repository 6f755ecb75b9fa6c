"""The proof of bytes: every blob that is stored is hashed again, from the volume's files or as a registry gives it."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kuik.keeper.volume import file_of
from registry.client import Client
from registry.errors import Corrupt, NotFound
from registry.manifest import INDEX_TYPES, MANIFEST_TYPES, Descriptor
from registry.reference import Reference

_PIECE = 1 << 20


@dataclass
class Pace:
    """Reads no more than `rate` bytes a second, so that pulls do not wait for it; `sleep` is in seconds."""

    rate: float
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def through(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Pass pieces on, slowly enough."""
        begun, seen = self.clock(), 0
        for piece in pieces:
            yield piece
            seen += len(piece)
            ahead = seen / self.rate - (self.clock() - begun)
            if ahead > 0:
                self.sleep(ahead)


def wrong(part: Descriptor, place: Reference, client: Client, folder: Path | None, pace: Pace) -> str:
    """What is wrong with the stored bytes of a part of the image at `place`, empty where nothing is.

    Raises NotFound where there are none, RegistryError where that cannot be told.
    """
    if folder is not None:
        return _file(part, file_of(folder, part.digest), pace)
    if part.media_type in MANIFEST_TYPES | INDEX_TYPES:
        try:
            client.manifest(place.with_digest(part.digest))
        except Corrupt as error:
            return str(error)
        return ""
    with client.open_blob(place, part.digest) as stream:
        return _compared(part, pace.through(iter(stream)))


def _file(part: Descriptor, path: Path, pace: Pace) -> str:
    try:
        with path.open("rb", buffering=0) as file:
            found = _compared(part, pace.through(iter(lambda: file.read(_PIECE), b"")))
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            return found
    except FileNotFoundError as error:
        raise NotFound(f"{part.digest} is not on the volume") from error
    except OSError as error:
        return f"{part.digest} cannot be read: {error.strerror}"


def _compared(part: Descriptor, pieces: Iterator[bytes]) -> str:
    hasher, size = part.digest.hasher(), 0
    for piece in pieces:
        hasher.update(piece)
        size += len(piece)
    if part.size and part.size != size:  # a manifest's size is not always known
        return f"{part.digest} has {size} bytes, not {part.size}"
    return "" if part.digest.matches(hasher) else f"the bytes stored as {part.digest} are others"
