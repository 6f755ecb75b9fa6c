"""What an image is made of: the manifests and blobs behind a name, with the wanted platforms chosen."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeGuard

from registry.digest import Digest
from registry.errors import NoPlatform, Unsupported
from registry.manifest import INDEX_TYPES, MANIFEST_TYPES, Descriptor, Manifest, Platform

MAX_DEPTH = 4
"""Indexes within indexes, the root included."""
MAX_MANIFESTS = 5000
MAX_MANIFEST_BYTES = 64 * 1024 * 1024

Load = Callable[[Descriptor], Manifest | None]
"""Gives the manifest that a descriptor in an index names; None when it is not to be had."""


@dataclass(frozen=True, slots=True)
class Contents:
    """The parts of an image for the wanted platforms.

    `manifests` has children before the indexes that name them, the image's own last; `blobs` has each digest once;
    `platforms` are those that an index offers and that were taken. `absent` are manifests that could not be loaded;
    `others` what an index names that is neither manifest nor index.
    """

    manifests: tuple[Manifest, ...]
    blobs: tuple[Descriptor, ...]
    platforms: tuple[Platform, ...] = ()
    absent: tuple[Digest, ...] = ()
    others: tuple[Descriptor, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all manifests and blobs."""
        return sum(len(manifest.raw) for manifest in self.manifests) + sum(blob.size for blob in self.blobs)


def contents(root: Manifest, platforms: frozenset[Platform], load: Load) -> Contents:
    """What `root` is made of for `platforms` (empty: all of them).

    An image that is no index is taken whatever it runs on. Raises NoPlatform when an index offers none of `platforms`,
    and Unsupported when it is too deep or too large.
    """
    walk = _Walk(platforms, load)
    walk.visit(root, depth=1)
    if platforms and root.is_index:
        walk.check_platforms()
    blobs = {blob.digest: blob for manifest in walk.manifests.values() for blob in manifest.blobs}
    return Contents(
        manifests=tuple(walk.manifests.values()),
        blobs=tuple(blobs.values()),
        platforms=tuple(sorted(walk.taken)),
        absent=tuple(walk.absent),
        others=tuple(walk.others),
    )


def wanted_children(index: Manifest, platforms: frozenset[Platform]) -> tuple[Descriptor, ...]:
    """The entries of an index for `platforms` (empty: all), and those that name no platform.

    Attestations, which call their platform `unknown/unknown`, belong to "all" only.
    """
    if not platforms:
        return index.manifests
    return tuple(child for child in index.manifests if _wanted(child.platform, platforms))


def is_manifest(descriptor: Descriptor) -> bool:
    """Whether the descriptor names a manifest or index of a kind that kuik knows (an old one may not say)."""
    return not descriptor.media_type or descriptor.media_type in INDEX_TYPES | MANIFEST_TYPES


class _Walk:
    def __init__(self, platforms: frozenset[Platform], load: Load) -> None:
        self.manifests: dict[Digest, Manifest] = {}
        self.taken: set[Platform] = set()
        self.absent: dict[Digest, None] = {}
        self.others: list[Descriptor] = []
        self._offered: set[Platform] = set()
        self._platforms = platforms
        self._load = load
        self._bytes = 0

    def visit(self, manifest: Manifest, depth: int) -> None:
        self._count(manifest, depth)
        self._offered.update(child.platform for child in manifest.manifests if _known(child.platform))
        for child in wanted_children(manifest, self._platforms):
            if not is_manifest(child):
                self.others.append(child)
                continue
            if _known(child.platform):
                self.taken.add(child.platform)
            if child.digest not in self.manifests:
                self._descend(child, depth)
        self.manifests[manifest.digest] = manifest

    def check_platforms(self) -> None:
        images = [manifest for manifest in self.manifests.values() if not manifest.is_index]
        if self.taken or (not self._offered and (images or self.absent)):
            return
        offered = ", ".join(map(str, sorted(self._offered))) or "none"
        wanted = ", ".join(map(str, sorted(self._platforms)))
        raise NoPlatform(f"the image offers {offered}; wanted is {wanted}")

    def _descend(self, child: Descriptor, depth: int) -> None:
        found = self._load(child)
        if found is None:
            self.absent[child.digest] = None
        else:
            self.visit(found, depth + 1)

    def _count(self, manifest: Manifest, depth: int) -> None:
        self._bytes += len(manifest.raw)
        if depth > MAX_DEPTH:
            raise Unsupported(f"the image nests indexes more than {MAX_DEPTH} deep")
        if len(self.manifests) >= MAX_MANIFESTS or self._bytes > MAX_MANIFEST_BYTES:
            raise Unsupported(
                f"the image has more than {MAX_MANIFESTS} manifests or {MAX_MANIFEST_BYTES} bytes of them"
            )


def _wanted(platform: Platform | None, platforms: frozenset[Platform]) -> bool:
    if platform is None or platform == Platform("", ""):
        return True
    return any(platform.satisfies(wanted) for wanted in platforms)


def _known(platform: Platform | None) -> TypeGuard[Platform]:
    return platform is not None and platform.os not in ("", "unknown")
