"""Copying an image from where it can be read to where it is kept: byte for byte, and named only when it is whole."""

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from registry.contents import Contents, contents
from registry.digest import Digest
from registry.errors import Corrupt, NotFound, RegistryError
from registry.manifest import Descriptor, Manifest, Platform
from registry.pipes import P, Passed
from registry.reference import Reference

T = TypeVar("T")

Fetch = Callable[[int], AbstractContextManager[Iterable[bytes]]]
"""Opens a blob at the source, from that byte on."""

_CONFIG_TYPES = frozenset(
    {"application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"}
)
_MAX_CONFIG = 8 * 1024 * 1024


class Source(Protocol):
    """Where images are read: a `Client`, or anything that has this part of it."""

    def manifest(self, reference: Reference, /) -> Manifest: ...
    def open_blob(
        self, reference: Reference, digest: Digest, /, start: int = 0
    ) -> AbstractContextManager[Iterable[bytes]]: ...


class Target(Protocol):
    """Where images are kept (`registry.targets`). `reference` is always the image's own name."""

    def copying(self) -> AbstractContextManager[None]:
        """Hold for the length of a copy: parts arrive that nothing names yet."""

    def manifest(self, reference: Reference, child: Descriptor, /) -> Manifest | None:
        """The manifest that the descriptor names, where the target has it whole."""

    def read_blob(self, reference: Reference, blob: Descriptor, /) -> bytes:
        """A small blob that is there."""

    def put_blob(self, reference: Reference, blob: Descriptor, fetch: Fetch, /) -> None:
        """Store the blob, with bytes from `fetch` where it is not there yet; raises Corrupt, StoreFull."""

    def put_manifest(self, reference: Reference, manifest: Manifest, /) -> None:
        """Store a manifest whose parts are there."""

    def holds(self, reference: Reference, parts: Contents, /) -> bool:
        """Whether `reference` names the last manifest and all parts are there, so that nothing is to be done."""

    def tag(self, reference: Reference, parts: Contents, /) -> None:
        """Check that all parts are there, and let `reference` name the last manifest of them."""


class Progress(Protocol):
    """Hears of the blobs that are transferred, from several threads."""

    def started(self, blob: Descriptor, /) -> None: ...
    def advanced(self, digest: Digest, count: int, /) -> None:
        """`count` more bytes are there; less than 0 where a transfer begins anew."""
        ...

    def finished(self, digest: Digest, /) -> None: ...


class Silent:
    """The progress that nobody looks at."""

    def started(self, blob: Descriptor, /) -> None: ...
    def advanced(self, digest: Digest, count: int, /) -> None: ...
    def finished(self, digest: Digest, /) -> None: ...


@dataclass(frozen=True, slots=True)
class CopyOptions:
    """`platforms` that are wanted (empty: all), and how many blobs are transferred at a time.

    Once `stop` is set, the copy ends at its next step: it raises, and names nothing.
    """

    platforms: frozenset[Platform] = frozenset()
    parallel: int = 4
    stop: threading.Event | None = None


@dataclass(frozen=True, slots=True)
class Copied:
    """An image that is now at the target.

    `size` is that of its manifests and blobs for the wanted platforms; `fetched_bytes` came from the source in this
    run; `notes` say what was left out, for people.
    """

    digest: Digest
    size: int
    platforms: tuple[Platform, ...]
    fetched_bytes: int
    notes: tuple[str, ...] = ()


def copy(
    reference: Reference,
    source: Source,
    target: Target,
    options: CopyOptions | None = None,
    progress: Progress | None = None,
) -> Copied:
    """Bring an image to the target; what is there already is not fetched again.

    Raises the typed error of the first thing that fails: then the name is not set, what arrived stays for the next
    attempt. NoPlatform when an index offers none of the wanted platforms.
    """
    with target.copying():
        options = options or CopyOptions()
        return _Copy(reference, source, target, progress or Silent(), options.stop).run(options)


class _Cancelled(RegistryError):
    """Another blob of the same copy failed, and says why."""


class Stopped(RegistryError):
    """The copy was told to stop before the image was whole."""


class _Copy:
    """One copy under way: what its threads share."""

    def __init__(
        self, reference: Reference, source: Source, target: Target, progress: Progress, told: threading.Event | None
    ) -> None:
        self.source = source
        self._told = told
        self.progress = progress
        self.stop = threading.Event()
        self._reference = reference
        self._target = target
        self._counter = threading.Lock()
        self._fetched = 0
        self._elsewhere: list[Descriptor] = []

    def run(self, options: CopyOptions) -> Copied:
        root = self._root()
        parts = contents(root, options.platforms, self._child)
        if not self._target.holds(self._reference, parts):
            parts = self._bring(parts, options.parallel)
        platforms = parts.platforms or self._platform_of(root)
        return Copied(root.digest, parts.size, platforms, self._fetched, self._notes(parts))

    def _bring(self, parts: Contents, parallel: int) -> Contents:
        """Transfer what is missing, and set the name; gives what is there now."""
        self._at_once(self._put, parts.blobs, parallel)
        whole = replace(parts, blobs=tuple(blob for blob in parts.blobs if blob not in self._elsewhere))
        self._at_once(self._put_manifest, [one for one in whole.manifests if not one.is_index], parallel)
        for index in (one for one in whole.manifests if one.is_index):
            self._put_manifest(index)
        self.go_on(whole.manifests[-1].digest)
        self._target.tag(self._reference, whole)
        return whole

    def go_on(self, digest: Digest) -> None:
        """Raise where there is no need any more to go on with this part."""
        if self._told is not None and self._told.is_set():
            raise Stopped("the copy was told to stop; it named nothing, and what arrived stays for the next attempt")
        if self.stop.is_set():
            raise _Cancelled(f"blob {digest} was not fetched to its end since another one failed")

    def count(self, size: int) -> None:
        with self._counter:
            self._fetched += size

    def _root(self) -> Manifest:
        root = self._fetch_manifest(self._reference)
        if self._reference.digest not in (None, root.digest):
            raise Corrupt(f"{self._reference} came as {root.digest}")
        return root

    def _child(self, child: Descriptor) -> Manifest:
        there = self._target.manifest(self._reference, child)
        if there is not None:
            return there
        manifest = self._fetch_manifest(self._reference.with_digest(child.digest))
        if manifest.digest != child.digest:
            raise Corrupt(f"manifest {child.digest} of {self._reference} came as {manifest.digest}")
        return manifest

    def _fetch_manifest(self, reference: Reference) -> Manifest:
        manifest = self.source.manifest(reference)
        self.count(len(manifest.raw))
        return manifest

    def _at_once(self, put: Callable[[T], None], parts: Sequence[T], parallel: int) -> None:
        with ThreadPoolExecutor(max(1, parallel), thread_name_prefix="copy") as pool:
            tasks = [pool.submit(put, part) for part in parts]
            try:
                for task in as_completed(tasks):
                    task.result()
            except BaseException:
                self.stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _put(self, blob: Descriptor) -> None:
        self.go_on(blob.digest)
        fetch = _BlobFetch(self, self._reference, blob)
        try:
            self._target.put_blob(self._reference, blob, fetch)
            fetch.finish()
        except NotFound:
            if not blob.urls:
                raise
            self._elsewhere.append(blob)

    def _put_manifest(self, manifest: Manifest) -> None:
        self.go_on(manifest.digest)
        self._target.put_manifest(self._reference, manifest)

    def _platform_of(self, image: Manifest) -> tuple[Platform, ...]:
        """What a single image runs on, by its config; empty where that is no image's."""
        config = image.config
        if config is None or config.media_type not in _CONFIG_TYPES or config.size > _MAX_CONFIG:
            return ()
        try:
            document = json.loads(self._target.read_blob(self._reference, config))
            return (Platform(str(document["os"]), str(document["architecture"]), str(document.get("variant") or "")),)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return ()

    def _notes(self, parts: Contents) -> tuple[str, ...]:
        layers = (f"layer {blob.digest} is kept elsewhere and was left out" for blob in self._elsewhere)
        others = (f"{other.digest} ({other.media_type[:80]}) is no image and was left out" for other in parts.others)
        return (*layers, *others)


class _BlobFetch:
    """Opens one blob at the source for the target, with progress and a way to stop."""

    def __init__(self, run: _Copy, reference: Reference, blob: Descriptor) -> None:
        self._run = run
        self._reference = reference
        self._blob = blob
        self._position: int | None = None

    @contextmanager
    def __call__(self, start: int) -> Iterator[Iterable[bytes]]:
        self._go_on()
        with self._run.source.open_blob(self._reference, self._blob.digest, start) as stream:
            self._begin_at(start)
            yield Passed(stream, self._pieces)

    def finish(self) -> None:
        """The target has proven and kept the blob."""
        if self._position is not None:
            self._run.progress.finished(self._blob.digest)

    def _begin_at(self, start: int) -> None:
        if self._position is None:
            self._run.progress.started(self._blob)
        if start != (self._position or 0):
            self._run.progress.advanced(self._blob.digest, start - (self._position or 0))
        self._position = start

    def _pieces(self, stream: Iterable[P]) -> Iterator[P]:
        for piece in stream:
            self._go_on()
            self._run.count(len(piece))
            yield piece
            self._position = (self._position or 0) + len(piece)
            self._run.progress.advanced(self._blob.digest, len(piece))

    def _go_on(self) -> None:
        self._run.go_on(self._blob.digest)
