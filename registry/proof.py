"""The proof of a folder's bytes: each blob is hashed again, and what is wrong is put aside so that it can come anew."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from registry.blobs import PIECE, BlobFolder
from registry.digest import Digest
from registry.durable import make_folder, names_file, storing, sync_folder

Heard = Callable[[int], None]
"""Is told of each piece that was read, in bytes."""


@dataclass(frozen=True, slots=True)
class Damage:
    """A blob whose stored bytes are not what its digest says, or cannot be read; `problem` is a sentence."""

    digest: Digest
    problem: str


def prove(blobs: BlobFolder, digest: Digest, heard: Heard = lambda _count: None) -> Damage | None:
    """Hash a blob's bytes; what is wrong with them, None where nothing is or where the blob is gone.

    What is wrong was read twice, the second time from the disk: memory may lie, too.
    """
    return _wrong(blobs, digest, heard) and _wrong(blobs, digest, lambda _count: None)


def put_aside(blobs: BlobFolder, damage: Damage) -> bool:
    """Move a damaged blob out of the way, so that the next copy stores it anew; whether it was still there.

    Its bytes stay beside the folder until garbage is collected. Raises RegistryError where nothing can be written.
    """
    with storing(f"blob {damage.digest}"):
        make_folder(blobs.damaged)
        try:
            blobs.path(damage.digest).replace(blobs.damaged / f"{damage.digest.algorithm}-{damage.digest.hex}")
        except FileNotFoundError:
            return False
        sync_folder(blobs.path(damage.digest).parent)
    return True


def _wrong(blobs: BlobFolder, digest: Digest, heard: Heard) -> Damage | None:
    hasher = digest.hasher()
    path = blobs.path(digest)
    try:
        with path.open("rb", buffering=0) as file:
            for piece in _pieces(file.fileno()):
                hasher.update(piece)
                heard(len(piece))
            if digest.matches(hasher) or not names_file(path, file.fileno()):  # replaced meanwhile: by proven bytes
                return None
            size = os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        return None
    except OSError as error:
        return Damage(digest, f"cannot be read: {error.strerror}")
    return Damage(digest, f"its {size} bytes have another digest")


def _pieces(fd: int) -> Iterator[bytes]:
    while piece := os.read(fd, PIECE):
        yield piece
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
