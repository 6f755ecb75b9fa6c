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
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
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
COLLECTING_SECONDS = 60.0
"""How long a collection waits for copies to end, unless told."""
_LOOK_SECONDS = 0.05
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
        self._copies = root / ".lock-copies"
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
        with ExitStack() as held:
            with self._turn(exclusive=False):
                held.enter_context(locked(self._copies, exclusive=False))
            yield

    def collect(self, *, within: float = COLLECTING_SECONDS) -> Collected:
        """Delete the blobs that no name leads to, and interrupted transfers of more than a day ago.

        Copies never wait for a collection that waits for them. Where some are under way for `within` seconds, raises
        StoreBusy. When any named manifest is missing or damaged, deletes nothing and raises Corrupt.
        """
        until = time.monotonic() + within
        with ExitStack() as held:
            while not self._none_copies(held):
                if time.monotonic() >= until:
                    raise StoreBusy(f"images are being copied{_for(within)}; collect when they are done")
                time.sleep(_LOOK_SECONDS)
            try:
                held.enter_context(self._changing(within=max(until - time.monotonic(), 0)))
            except BlockingIOError as error:
                raise StoreBusy(f"the names of images are being changed{_for(within)}; collect later") from error
            return collect(self.blobs, self._seen().index.roots, self._load, self._clock() - FRESH)

    def _none_copies(self, held: ExitStack) -> bool:
        """Whether no copy is under way; then none begins while this is `held`."""
        with suppress(BlockingIOError), self._turn(exclusive=True):
            held.enter_context(locked(self._copies, exclusive=True, within=0))
            return True
        return False

    def _turn(self, *, exclusive: bool) -> AbstractContextManager[None]:
        """Held by copies that wait for a collection to end, so that the next one lets them go first."""
        return locked(self.root / ".lock-turn", exclusive=exclusive, within=0 if exclusive else None)

    @contextmanager
    def _changing(self, *, within: float | None = None) -> Iterator[None]:
        with locked(self.root / ".lock-index", exclusive=True, within=within), storing("the names of images"):
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


def _for(seconds: float) -> str:
    return f", for {seconds:.0f} s now" if seconds else ""


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
