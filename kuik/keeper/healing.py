"""What a volume lacks comes from its siblings, so that upstream is not asked; bytes that are wrong are replaced."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from kuik.keeper.volume import file_of
from kuik.keeper.whole import Subject
from kuik.through_shield import ThroughShield
from registry.client import Client
from registry.copy import CopyOptions, copy
from registry.durable import make_folder, storing, sync_folder
from registry.errors import RegistryError, StoreFull
from registry.manifest import INDEX_TYPES, MANIFEST_TYPES, Descriptor
from registry.reference import Reference
from registry.targets import RegistryTarget
from registry.verify import verified

_PARALLEL = 2


class Siblings:
    """The other volumes' registries, `hosts` as `name:port`; `client` knows what to show them."""

    def __init__(self, client: Client, hosts: Sequence[str]) -> None:
        self.client = client
        self.hosts = tuple(hosts)

    def pieces(self, host: str, part: Descriptor, subject: Subject) -> Iterator[bytes]:
        """The bytes of a part as one sibling gives them, the last when all are proven; raises RegistryError."""
        if part.media_type in MANIFEST_TYPES | INDEX_TYPES:
            yield self.client.manifest(subject.at(host).with_digest(part.digest)).raw
            return
        with self.client.open_blob(subject.at(host), part.digest) as stream:
            yield from verified(stream, part.digest, part.size)

    def source(self, host: str, subject: Subject) -> ThroughShield:
        """One sibling as a copy's source."""
        return ThroughShield(self.client, (host,), private=subject.private)


def fill(subject: Subject, siblings: Siblings, client: Client, host: str) -> str:
    """Bring the image from a sibling to the registry at `host`, all that is missing there; empty when it is there, else
    why it is not. Raises RegistryError where this volume's own registry fails."""
    failed = "there is no other volume"
    target = RegistryTarget(client, host, private=subject.private)
    pinned = subject.image.with_digest(subject.digest)
    options = CopyOptions(platforms=subject.platforms, parallel=_PARALLEL)
    for sibling in siblings.hosts:
        try:
            copy(pinned, siblings.source(sibling, subject), target, options)
        except RegistryError as error:
            failed = f"{sibling}: {error}"
            continue
        return ""
    return failed


def tag(subject: Subject, client: Client, host: str) -> None:
    """Let the image's tag name its digest again; raises RegistryError."""
    place = subject.at(host)
    manifest = client.manifest(place.with_digest(subject.digest))
    client.push_manifest(Reference(host, place.repository, subject.image.anchor), manifest)


def mend(folder: Path, part: Descriptor, subject: Subject, siblings: Siblings) -> str:
    """Replace a blob's wrong bytes by those of a sibling; empty when that was done, else why not. Where no sibling has
    them the file goes: nobody can use it, and distribution takes no other bytes for a blob while it is there.

    Raises RegistryError where the volume takes nothing.
    """
    failed = "there is no other volume"
    for host in siblings.hosts:
        try:
            _replace(file_of(folder, part.digest), siblings.pieces(host, part, subject))
        except StoreFull:
            raise
        except RegistryError as error:
            failed = f"{host}: {error}"
            continue
        return ""
    with storing(f"blob {part.digest}"), suppress(FileNotFoundError):
        _clear(file_of(folder, part.digest))
        file_of(folder, part.digest).unlink()
    return failed


def _clear(path: Path) -> None:
    """Let no folder be where a file belongs, whoever made it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)


def _replace(path: Path, pieces: Iterator[bytes]) -> None:
    """Put bytes in place of a file at once: who reads it meanwhile reads the old ones to their end. Nothing is changed
    unless all of them come."""
    with storing(f"blob {path.parent.name}"):
        make_folder(path.parent)
        fresh = path.with_name(".healed")
        try:
            with fresh.open("wb") as file:
                for piece in pieces:
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            _clear(path)
            fresh.replace(path)
            sync_folder(path.parent)
        finally:
            fresh.unlink(missing_ok=True)
