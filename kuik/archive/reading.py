"""An archive as the source of copies. What is read is checked by whom it is copied to, as everything that comes in."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from kuik.archive.members import Member, members
from kuik.archive.names import Named, read
from registry.digest import Digest, InvalidDigest
from registry.errors import Corrupt, NotFound, RegistryError
from registry.ingest import PIECE
from registry.layout_index import LayoutIndex
from registry.manifest import MAX_MANIFEST, Descriptor, Manifest, parse_manifest
from registry.reference import Reference

MAX_INDEX = 16 * 1024 * 1024
"""Bytes of an archive's index.json."""


@dataclass(frozen=True)
class Archive:
    """The image layout in a tar archive: the images that it names, and where each blob is."""

    path: Path
    images: Mapping[Reference, Named]
    blobs: Mapping[Digest, Member]

    @classmethod
    def open(cls, path: Path, name_all: Reference | None = None) -> Self:
        """Read what is where; raises Corrupt for what is no such archive, RegistryError for what cannot be read.

        `name_all` is the name of its one image, whatever the archive calls it.
        """
        with _opened(path) as file:
            found = _by_name(file)
            for name in ("oci-layout", "index.json"):
                if name not in found:
                    raise Corrupt(f"{path} is no image layout: it has no {name}{_advice(found)}")
            index = _bytes(file, found["index.json"], MAX_INDEX)
        roots = {root.digest for root in LayoutIndex.parse(index).roots}
        if name_all and len(roots) != 1:
            raise Corrupt(f"{path} holds {len(roots)} images: only one that is alone can be given a name")
        images = {one.reference: one for one in read(index, name_all)}
        return cls(path, images, {digest: one for name, one in found.items() if (digest := digest_of(name))})

    def manifest(self, reference: Reference) -> Manifest:
        """Of a name the manifest or index, of a digest any that is here; raises NotFound, Corrupt."""
        named = self.images.get(reference)
        found = named.root if named else None
        if found is None and reference.digest:
            member = self.blobs.get(reference.digest)
            found = Descriptor("", reference.digest, member.size) if member else None
        manifest = self._load(found) if found else None
        if manifest is None:
            raise NotFound(f"{reference} is not in {self.path}")
        return manifest

    @contextmanager
    def open_blob(self, _reference: Reference, digest: Digest, start: int = 0) -> Iterator[Iterator[bytes]]:
        """The bytes of a blob, from byte `start` on; raises NotFound."""
        member = self.blobs.get(digest)
        if member is None:
            raise NotFound(f"blob {digest} is not in {self.path}")
        with _opened(self.path) as file:
            file.seek(member.offset + start)
            yield _pieces(file, member.size - start)

    def _load(self, descriptor: Descriptor) -> Manifest | None:
        member = self.blobs.get(descriptor.digest)
        if member is None:
            return None
        with _opened(self.path) as file:
            return parse_manifest(_bytes(file, member, MAX_MANIFEST), descriptor.media_type, descriptor.digest)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise RegistryError(f"cannot read {path}: {error.strerror or error}") from error


def _by_name(file: BinaryIO) -> dict[str, Member]:
    found: dict[str, Member] = {}
    for member in members(file):
        if member.name in found:
            raise Corrupt(f"the archive holds {member.name[:200]!r} twice, and readers differ in which one counts")
        found[member.name] = member
    return found


def _bytes(file: BinaryIO, member: Member, most: int) -> bytes:
    if member.size > most:
        raise Corrupt(f"{member.name} has {member.size} bytes; kuik reads at most {most}")
    file.seek(member.offset)
    return file.read(member.size)


def _pieces(file: BinaryIO, left: int) -> Iterator[bytes]:
    while left > 0 and (piece := file.read(min(left, PIECE))):
        left -= len(piece)
        yield piece


def digest_of(name: str) -> Digest | None:
    """The digest in a blob's name `blobs/<algorithm>/<hex>`; None for other names."""
    folder, _, rest = name.partition("/")
    try:
        return Digest.parse(rest.replace("/", ":", 1)) if folder == "blobs" else None
    except InvalidDigest:
        return None


def _advice(found: Mapping[str, Member]) -> str:
    if "manifest.json" in found:
        return "; it looks like one of `docker save`: convert it with `skopeo copy docker-archive:... oci-archive:...`"
    return ""
