"""The volume's registry as the keeper sees and changes it: its tags, what they stand for, and the room they take."""

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kuik.keeper.kept import Place
from registry.attached import fallback_tag, subject_of, subjects
from registry.catalog import repositories
from registry.client import Client
from registry.credentials import Credentials
from registry.digest import Digest
from registry.errors import NotFound, RegistryError, Unsupported
from registry.reference import Reference
from registry.transport import Transport

if TYPE_CHECKING:
    from kuik.keeper.bucket import Bucket

BLOBS = Path("docker/registry/v2/blobs")
"""Where distribution keeps blobs in a folder."""


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes: what blobs take up, what the volume holds, and what is free; None where that is not known."""

    used: int | None = None
    capacity: int | None = None
    free: int | None = None


class Ending(RegistryError):
    """This process is told to end, so that what takes long is left for the next one."""


class Volume:
    """The registry at `host` (`name:port`), its writer; `folder` is where its storage is mounted, None for S3, where it
    is in a `bucket`.

    `ends` is asked before each request whether this process ends: then Ending is raised.
    """

    def __init__(
        self,
        transport: Transport,
        host: str,
        credentials: Credentials | None,
        folder: Path | None,
        bucket: "Bucket | None" = None,
    ) -> None:
        self.host = host
        self.bucket = bucket
        self.folder = folder
        self._transport = transport
        self._credentials = credentials
        self.ends: Callable[[], bool] = lambda: False
        self.client = Client(transport, lambda _reference: [credentials] if credentials else [])

    def tags(self, named: Iterable[str]) -> Mapping[str, Collection[str]]:
        """The tags of every repository, of those `named` alone where the registry has no catalog.

        Raises RegistryError where any of it could not be read: what is not seen must not count as gone.
        """
        try:
            listed: Iterable[str] = list(repositories(self._transport, self.host, self._credentials))
        except Unsupported:
            listed = named
        found: dict[str, Collection[str]] = {}
        for repository in dict.fromkeys(listed):
            self._go_on()
            try:
                found[repository] = self.client.tags(Reference(self.host, repository))
            except NotFound:  # the catalog still names repositories of which nothing is left
                continue
        return found

    def attached_to(self, repository: str, kept: Iterable[str], attached: Iterable[str]) -> frozenset[str]:
        """The fallback tags of all digests to which something may be attached: of the images that the tags `kept`
        stand for, and of what among the tags `attached` is attached to them, and so on.

        Raises NotFound where a tag stands for nothing that can be read, and RegistryError.
        """
        found, waiting, looked_at = set[str](), set(attached), set(kept)
        while looked_at:
            for tag in looked_at:
                self._go_on()
                manifest = self.client.manifest(Reference(self.host, repository, tag))
                found |= {fallback_tag(digest) for digest in subjects(manifest)}
            looked_at = {tag for tag in waiting if subject_of(tag) in found}
            waiting -= looked_at
        return frozenset(found)

    def remove(self, place: Place) -> bool:
        """Remove one tag; whether it was there. Its siblings and its digest stay. Raises RegistryError."""
        self._go_on()
        try:
            self.client.delete(place.at(self.host))
        except NotFound:
            return False
        return True

    def _go_on(self) -> None:
        if self.ends():
            raise Ending(f"{self.host}: left for the next keeper, as this one is told to end")

    def room(self, configured: int | None, *, anew: bool = False) -> Room:
        """How full the volume is; `configured` is how much it may hold, where somebody says so. A bucket is counted
        seldom, unless `anew`."""
        if self.folder is None:
            used = self.bucket.used(self.ends, anew=anew) if self.bucket else None
            free = None if used is None or configured is None else max(0, configured - used)
            return Room(used, configured, free)
        try:
            system = os.statvfs(self.folder)
        except OSError:
            return Room(capacity=configured)
        used = size_of(self.folder / BLOBS, self.ends)
        free, capacity = system.f_bavail * system.f_frsize, system.f_blocks * system.f_frsize
        if configured is not None and configured < capacity:
            return Room(used, configured, max(0, min(free, configured - used)))
        return Room(used, capacity, free)


def file_of(folder: Path, digest: Digest) -> Path:
    """Where distribution keeps a blob's bytes in a folder."""
    return folder / BLOBS / digest.algorithm / digest.hex[:2] / digest.hex / "data"


def size_of(folder: Path, step: Callable[[], object] = lambda: None) -> int:
    """Bytes that the files below a folder take up; what goes meanwhile counts nothing. `step` is called now and then,
    as it may take long."""
    total, waiting = 0, [str(folder)]
    while waiting:
        step()
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_blocks * 512
        except OSError:
            continue
    return total
