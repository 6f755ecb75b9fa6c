"""An OCI image layout folder as kuik's store (OCI image-spec, image-layout.md).

An image is found under its canonical name, `docker.io/library/nginx:1.25`, in the annotation
`org.opencontainers.image.ref.name`; so `skopeo copy oci:DIR:docker.io/library/nginx:1.25 ...` reads it. Bytes, digests
and media types are upstream's own, which skopeo takes with these limits:

- an entry that is a Docker schema 2 manifest or list is found by name by newer versions only (1.9, in Debian 12, skips
  it). These read it from a layout of this one entry and the same blobs: `--src-shared-blob-dir DIR/blobs oci:OTHER`;
- a name with two underscores or three hyphens in a row, or a tag that begins with `_` or ends in a separator, is
  outside the grammar of its `oci:` transport; newer versions take the entry's number instead, `oci:DIR:@0`;
- where only some platforms were copied, choose one (`--override-arch`); `--all` wants what the index names.

In the folder kuik also keeps its lock files (`.lock*`), interrupted transfers (`blobs.ingest`), blobs
whose bytes proved wrong (`blobs.damaged`), `state/` and `spool/`.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from registry.blobs import BlobFolder
from registry.collect import FRESH, Collected, StoreBusy, collect
from registry.contents import Contents, contents, is_manifest
from registry.digest import Digest
from registry.durable import locked, make_folder, storing, write_whole
from registry.errors import Corrupt, NotFound, RegistryError
from registry.layout_index import LayoutIndex
from registry.manifest import INDEX_TYPES, MAX_MANIFEST, Descriptor, Manifest, Platform, parse_manifest
from registry.reference import Reference

LAYOUT_VERSION = "1.0.0"
_OWN = frozenset({"blobs", "blobs.ingest", "blobs.damaged", "state", "spool", "spool.ingest", "lost+found"})
_OWN_HIDDEN = (".lock", ".oci-layout.", ".index.json.")


class NotALayout(RegistryError):
    """The folder is something else; kuik leaves it alone."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """An index.json as it was at `stamp`, and every manifest that it leads to."""

    stamp: tuple[int, int, int]
    index: LayoutIndex
    reachable: Mapping[Digest, Descriptor]


class Layout:
    """The image layout in the folder `root`, made if it is not there; safe for many threads and processes.

    Raises NotALayout for a folder that holds something else, and Corrupt for a layout without its index.json.
    """

    def __init__(self, root: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.root = root
        self.blobs = BlobFolder(root / "blobs")
        self._clock = clock
        self._index_file = root / "index.json"
        self._children: dict[Digest, tuple[Descriptor, ...]] = {}
        self._last: _Seen | None = None
        _create(root)

    def references(self) -> dict[Reference, Descriptor]:
        """Every image by the name it was stored under; raises Corrupt."""
        return dict(self._seen().index.references)

    def resolve(self, reference: Reference) -> Descriptor | None:
        """The manifest or index that `reference` names: of a digest, any that some image here leads to.

        None when it is not here. Raises Corrupt when the index.json cannot be read.
        """
        seen = self._seen()
        found = seen.reachable.get(reference.digest) if reference.digest else seen.index.references.get(reference)
        return found if found and self.blobs.size(found.digest) is not None else None

    def manifest(self, digest: Digest) -> Manifest:
        """A stored manifest or index, its bytes checked against `digest`; raises NotFound, Corrupt."""
        known = self._seen().reachable.get(digest)
        return self._load(digest, known.media_type if known else "")

    def tag(self, reference: Reference, manifest: Manifest) -> None:
        """Let `reference` name `manifest`, whose parts are here; call it while `copying`. Raises Corrupt, StoreFull."""
        if reference.digest and reference.digest != manifest.digest:
            raise Corrupt(f"{reference} cannot name the manifest {manifest.digest}")
        self.blobs.put(manifest.digest, manifest.raw)
        with self._changing():
            # Written also when nothing changes: children may have come, and readers look when the file's time changes.
            write_whole(self._index_file, self._seen().index.with_tag(reference, manifest.descriptor).encode())

    def untag(self, reference: Reference) -> bool:
        """Take the name away; whether it was there. `collect` frees what nothing names any more."""
        with self._changing():
            index = self._seen().index
            if reference not in index.references:
                return False
            write_whole(self._index_file, index.without(reference).encode())
            return True

    def missing(self, reference: Reference, platforms: frozenset[Platform] = frozenset()) -> tuple[Digest, ...]:
        """What the stored image lacks for `platforms` (empty: all), by existence and size.

        Raises NotFound when nothing is stored under the name, NoPlatform when it offers none of them, Corrupt.
        """
        parts = self.parts(reference, platforms)
        return parts.absent + self.lacking(parts.blobs)

    def parts(self, reference: Reference, platforms: frozenset[Platform] = frozenset()) -> Contents:
        """What the stored image is made of, as far as its manifests are here; raises as `missing`."""
        root = self.resolve(reference)
        if root is None:
            raise NotFound(f"{reference} is not in the store")
        return contents(self._load(root.digest, root.media_type), platforms, self._load_child)

    def lacking(self, blobs: tuple[Descriptor, ...]) -> tuple[Digest, ...]:
        """Which of these blobs are not here in full; layers that are kept elsewhere (`urls`) may be absent."""
        sizes = ((blob, self.blobs.size(blob.digest)) for blob in blobs)
        return tuple(blob.digest for blob, size in sizes if size != blob.size and not (size is None and blob.urls))

    @contextmanager
    def copying(self) -> Iterator[None]:
        """Hold off `collect`, here and in other processes, while parts of an image arrive that nothing names yet."""
        with locked(self.root / ".lock-copies", exclusive=False):
            yield

    def collect(self, *, wait: bool = True) -> Collected:
        """Delete the blobs that no name leads to, and interrupted transfers of more than a day ago.

        Waits for copies to end, or raises StoreBusy. When any named manifest is missing or damaged, deletes nothing
        and raises Corrupt.
        """
        try:
            with locked(self.root / ".lock-copies", exclusive=True, wait=wait), self._changing():
                return collect(self.blobs, self._seen().index.roots, self._load, self._clock() - FRESH)
        except BlockingIOError as error:
            raise StoreBusy("images are being copied; collect when they are done") from error

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with locked(self.root / ".lock-index", exclusive=True), storing("the names of images"):
            yield

    def _seen(self) -> _Seen:
        try:
            status = self._index_file.stat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            last = self._last
            if last is not None and last.stamp == stamp:
                return last
            index = LayoutIndex.parse(self._index_file.read_bytes())
        except FileNotFoundError as error:
            raise Corrupt(f"the store {self.root} has lost its index.json") from error
        self._last = fresh = _Seen(stamp, index, self._reachable(index))
        return fresh

    def _reachable(self, index: LayoutIndex) -> Mapping[Digest, Descriptor]:
        found: dict[Digest, Descriptor] = {}
        queue = list(index.roots)
        while queue:
            descriptor = queue.pop()
            if descriptor.digest not in found and is_manifest(descriptor):
                found[descriptor.digest] = descriptor
                queue.extend(self._children_of(descriptor))
        return found

    def _children_of(self, descriptor: Descriptor) -> tuple[Descriptor, ...]:
        """What an index names, remembered for good: the bytes behind a digest never change."""
        if descriptor.media_type not in INDEX_TYPES:
            return ()
        if descriptor.digest not in self._children:
            try:
                self._children[descriptor.digest] = self._load(descriptor.digest, descriptor.media_type).manifests
            except (NotFound, Corrupt):  # it may come, or be healed, later
                return ()
        return self._children[descriptor.digest]

    def _load_child(self, child: Descriptor) -> Manifest | None:
        try:
            return self._load(child.digest, child.media_type)
        except (NotFound, Corrupt):
            return None

    def _load(self, digest: Digest, media_type: str) -> Manifest:
        with self.blobs.open(digest) as file:
            return parse_manifest(file.read(MAX_MANIFEST + 1), media_type, digest)


def _create(root: Path) -> None:
    make_folder(root)
    marker = root / "oci-layout"
    strange = [path.name for path in root.iterdir() if not _is_own(path.name)]
    if not marker.exists() and strange:
        raise NotALayout(f"{root} holds {min(strange)!r} but no oci-layout file: name an empty folder as store")
    with locked(root / ".lock-index", exclusive=True), storing("a new image layout"):
        if not marker.exists():
            write_whole(marker, json.dumps({"imageLayoutVersion": LAYOUT_VERSION}).encode())
        _check_version(marker)
        if not (root / "index.json").exists():
            _create_index(root)


def _is_own(name: str) -> bool:
    return name in _OWN or name.startswith(_OWN_HIDDEN)


def _check_version(marker: Path) -> None:
    try:
        version = json.loads(marker.read_bytes())["imageLayoutVersion"]
    except (ValueError, KeyError, TypeError) as error:
        raise NotALayout(f"{marker} is not the file of an image layout") from error
    if version != LAYOUT_VERSION:
        raise NotALayout(f"{marker}: version {version!r} of the image layout is unknown; kuik reads {LAYOUT_VERSION}")


def _create_index(root: Path) -> None:
    """Only where nothing is stored yet: an empty index beside blobs would make all of them garbage."""
    if next(BlobFolder(root / "blobs").digests(), None):
        raise Corrupt(f"the store {root} has blobs but no index.json: put it back, or move blobs/ away")
    write_whole(root / "index.json", LayoutIndex.empty().encode())
