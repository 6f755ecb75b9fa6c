"""An archive as the target of copies, written so that whoever is killed goes on where it stopped.

All goes into FILE.part, a tar archive that grows: each blob is there once, in the order in which it came. The next
export into the same file proves what is there by its digests, cuts off what is not, and goes on, also in the middle of
a blob. At the end comes the index.json, and the file gets its name.
"""

import fcntl
import os
import tarfile
import threading
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from kuik.archive.members import BLOCK, CutOff, Member, members, padded
from kuik.archive.names import Named, encoded
from kuik.archive.reading import digest_of
from registry.contents import Contents
from registry.copy import Fetch
from registry.digest import Digest, Hasher
from registry.durable import names_file, storing, sync_folder
from registry.errors import Corrupt, NotFound, RegistryError, ServerFailure
from registry.ingest import PIECE
from registry.layout import LAYOUT_VERSION
from registry.manifest import Descriptor, Manifest, parse_manifest
from registry.reference import Reference

_LAYOUT = f'{{"imageLayoutVersion": "{LAYOUT_VERSION}"}}'.encode()


class Busy(RegistryError):
    """Another export writes this file."""


@dataclass
class _Tail:
    """A blob that is not whole, at the end of the file: its bytes may be gone on with."""

    digest: Digest
    member: Member


class Writing:
    """An archive that is being written to `path`; use it in a `with`, copy into `target`, and `finish`.

    Leaving without `finish` keeps FILE.part. Raises Busy while another process writes it, and Corrupt where FILE.part
    is something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.part = path.with_name(f"{path.name}.part")
        self.resumed = 0
        """Bytes that an earlier export left."""
        self.lock = threading.RLock()
        self._images: dict[Reference, Named] = {}
        self._blobs: dict[Digest, Member] = {}
        self._wanted: set[Digest] = set()
        self._tail: _Tail | None = None
        self._end = 0
        with storing(str(self.part)):
            self._file = _open(self.part)
        try:
            self._take_stock()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def target(self, *, private: bool = False) -> "ArchiveTarget":
        """Where to copy an image to."""
        return ArchiveTarget(self, private=private)

    def finish(self) -> int:
        """Name the images that were copied, and give the file its name; the archive's size in bytes."""
        with storing(str(self.path)):
            if self._blobs.keys() - self._wanted:
                self._leave_out_the_unwanted()
            self._cut(self._end)
            self._append("index.json", encoded(self._images.values()))
            self._file.write(bytes(2 * BLOCK))
            self._file.flush()
            os.fsync(self._file.fileno())
            self.part.replace(self.path)
            sync_folder(self.path.parent)
            return os.fstat(self._file.fileno()).st_size

    def size(self, digest: Digest) -> int | None:
        """The size of a blob that is there whole."""
        found = self._blobs.get(digest)
        return found.size if found else None

    def read(self, digest: Digest) -> bytes:
        """A small blob; raises NotFound."""
        with self.lock:
            found = self._blobs.get(digest)
            if found is None:
                raise NotFound(f"blob {digest} is not in {self.part}")
            self._file.seek(found.offset)
            return self._file.read(found.size)

    def add(self, digest: Digest, content: bytes) -> None:
        """Put a manifest there."""
        with self.lock, storing(str(self.part)):
            if digest not in self._blobs:
                self._cut(self._end)
                self._blobs[digest] = self._append(_name(digest), content)

    def fill(self, blob: Descriptor, fetch: Fetch) -> None:
        """Put a blob there, or the rest of one of which the first bytes are; raises Corrupt, StoreFull."""
        with self.lock, storing(str(self.part)):
            if self._blobs.get(blob.digest):
                return
            tail, self._tail = self._tail, None
            resumed = tail is not None and (tail.digest, tail.member.size) == (blob.digest, blob.size)
            if tail is None or not resumed:
                tail = _Tail(blob.digest, self._begin(_name(blob.digest), blob.size))
            try:
                self._blobs[blob.digest] = self._fill_or_cut(tail, fetch)
            except Corrupt:
                if not resumed:
                    raise
                fresh = _Tail(blob.digest, self._begin(_name(blob.digest), blob.size))
                self._blobs[blob.digest] = self._fill_or_cut(fresh, fetch)

    def name(self, named: Named, parts: Contents) -> None:
        """Let the archive name an image of which all is there."""
        digests = [*(one.digest for one in parts.manifests), *(one.digest for one in parts.blobs)]
        lost = [one for one in digests if one not in self._blobs]
        if lost:
            raise ServerFailure(f"{lost[0]} of {named.reference} is not in {self.part}; try again")
        self._wanted.update(digests)
        self._images[named.reference] = named

    def _take_stock(self) -> None:
        """Find out what is there, as far as its bytes are what their names say."""
        try:
            for member in members(self._file) if os.fstat(self._file.fileno()).st_size else ():
                digest = digest_of(member.name)
                if member.name == "index.json" or (digest and not self._is(member, digest)):
                    break
                if digest:
                    self._blobs[digest] = member
                self._end = member.end
        except CutOff as error:
            digest = digest_of(error.member.name) if error.member else None
            if error.member and digest and error.member.start == self._end:
                self._tail = _Tail(digest, error.member)
        except Corrupt as error:
            if not self._end:
                raise Corrupt(f"{self.part} is not what an export left: move it away ({error})") from error
        self.resumed = self._end
        if not self._end:
            self._append("oci-layout", _LAYOUT)
        elif self._tail is None:
            self._cut(self._end)

    def _is(self, member: Member, digest: Digest) -> bool:
        hasher = digest.hasher()
        self._hash(hasher, member.offset, member.size)
        return digest.matches(hasher)

    def _hash(self, hasher: Hasher, at: int, size: int) -> None:
        self._file.seek(at)
        while size and (piece := self._file.read(min(size, PIECE))):
            hasher.update(piece)
            size -= len(piece)

    def _begin(self, name: str, size: int) -> Member:
        """Write a member's headers at the end."""
        start = self._end
        self._cut(start)
        headers = _headers(name, size)
        self._file.write(headers)
        return Member(name, start, start + len(headers), size)

    def _append(self, name: str, content: bytes) -> Member:
        member = self._begin(name, len(content))
        self._file.write(content)
        return self._whole(member)

    def _whole(self, member: Member) -> Member:
        self._file.write(bytes(padded(member.size) - member.size))
        self._file.flush()
        self._end = member.end
        return member

    def _fill_or_cut(self, tail: _Tail, fetch: Fetch) -> Member:
        """Fill; what proved wrong goes, what only broke off stays."""
        try:
            return self._fill(tail, fetch)
        except Corrupt:
            self._cut(tail.member.start)
            raise
        except BaseException:
            self._tail = tail
            raise

    def _fill(self, tail: _Tail, fetch: Fetch) -> Member:
        self._file.flush()
        member, hasher = tail.member, tail.digest.hasher()
        there = min(max(0, os.fstat(self._file.fileno()).st_size - member.offset), member.size)
        self._hash(hasher, member.offset, there)
        self._file.seek(member.offset + there)
        if there < member.size:
            with fetch(there) as pieces:
                for piece in pieces:
                    there += len(piece)
                    if there > member.size:
                        raise Corrupt(f"blob {tail.digest} has more than its {member.size} bytes")
                    hasher.update(piece)
                    self._file.write(piece)
        if there != member.size or not tail.digest.matches(hasher):
            raise Corrupt(f"{there} bytes that came as blob {tail.digest} have another digest")
        return self._whole(member)

    def _cut(self, at: int) -> None:
        self._tail = None
        self._file.seek(at)
        self._file.truncate()

    def _leave_out_the_unwanted(self) -> None:
        """Write the file anew without what an earlier export, of other images, has left in it."""
        fresh = self.part.with_name(f"{self.part.name}.new")
        with fresh.open("w+b") as file:
            before, self._file, self._end = self._file, file, 0
            try:
                self._append("oci-layout", _LAYOUT)
                kept = {digest: one for digest, one in self._blobs.items() if digest in self._wanted}
                for digest, one in kept.items():
                    member = self._begin(one.name, one.size)
                    before.seek(one.offset)
                    left = one.size
                    while left and (piece := before.read(min(left, PIECE))):
                        file.write(piece)
                        left -= len(piece)
                    self._blobs[digest] = self._whole(member)
                self._blobs = {digest: self._blobs[digest] for digest in kept}
            finally:
                self._file = before
        self._adopt(fresh)

    def _adopt(self, fresh: Path) -> None:
        file = _open(fresh)
        fresh.replace(self.part)
        self._file.close()
        self._file = file


class ArchiveTarget:
    """One archive as the target of a copy."""

    def __init__(self, writing: Writing, *, private: bool) -> None:
        self._writing = writing
        self._private = private
        self._broken: BaseException | None = None

    def copying(self) -> AbstractContextManager[None]:
        return nullcontext()

    def manifest(self, _reference: Reference, child: Descriptor) -> Manifest | None:
        if self._writing.size(child.digest) is None:
            return None
        return parse_manifest(self._writing.read(child.digest), child.media_type, child.digest)

    def read_blob(self, _reference: Reference, blob: Descriptor) -> bytes:
        return self._writing.read(blob.digest)

    def put_blob(self, _reference: Reference, blob: Descriptor, fetch: Fetch) -> None:
        """After one that failed none is begun: it would be written over what came of that one."""
        with self._writing.lock:
            if self._broken:
                raise self._broken
            try:
                self._writing.fill(blob, fetch)
            except BaseException as error:
                if not (isinstance(error, NotFound) and blob.urls):  # such a layer is kept elsewhere, and left out
                    self._broken = error
                raise

    def put_manifest(self, _reference: Reference, manifest: Manifest) -> None:
        self._writing.add(manifest.digest, manifest.raw)

    def holds(self, _reference: Reference, _parts: Contents) -> bool:
        """Never: an archive is written from its beginning to its end."""
        return False

    def tag(self, reference: Reference, parts: Contents) -> None:
        self._writing.name(Named(reference, parts.manifests[-1].descriptor, self._private), parts)


def _name(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex}"


def _headers(name: str, size: int) -> bytes:
    """The same for the same name and size: two exports of the same images differ in nothing."""
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o644, 0
    return info.tobuf(tarfile.PAX_FORMAT)


def _open(path: Path) -> BinaryIO:
    """The file, made where it is not there, held against others; raises Busy."""
    while True:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise Busy(f"another export writes {path}") from error
        if names_file(path, file.fileno()):
            return file
        file.close()  # it was finished, and has another name now
