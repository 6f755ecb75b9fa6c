"""Whose the content of a spool is: what may be given to which repository, and what may be kept at all."""

import os
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from proxy.shield.spool import Spool
from registry.digest import Digest
from registry.reference import Reference

_REMEMBERED = 50_000
_LIFETIME = 86_400.0
"""Seconds after which the name of a host whose content is gone may be forgotten."""


class Shares(Protocol):
    """Decides about content by the repository and digest of `reference`."""

    def has(self, reference: Reference) -> bool:
        """Whether what is kept under the digest may be given to who may pull from the repository."""

    def told(self, reference: Reference) -> None:
        """The repository's registry said, to who may pull from it, that it has the digest."""

    def take(self, reference: Reference) -> bool:
        """Whether what the repository's registry sends may be kept, for all repositories that come to have it."""


class Everybodys:
    """What anybody may have is anybody's, wherever it came from."""

    def has(self, _reference: Reference, /) -> bool:
        return True

    def told(self, _reference: Reference, /) -> None:
        """It is known already."""

    def take(self, _reference: Reference, /) -> bool:
        return True


class Owned:
    """What came by a credential. Threads share it, and processes that share the spool's folder.

    A digest's content belongs to the registry host that it came from, whose name is beside it before a byte of it is.
    Another host's word that it has the same digest proves nothing, since anybody can run a registry that says so: for
    that host's repositories it is neither given out nor kept. Of its own host's repositories each has to be proven, by
    what the host says to the credentials of that repository's users.
    """

    def __init__(self, spool: Spool, folder: Path) -> None:
        self._spool = spool
        self._folder = folder
        self._lock = threading.Lock()
        self._proven: OrderedDict[tuple[str, Digest], None] = OrderedDict()
        folder.mkdir(parents=True, exist_ok=True)
        self._tidy()

    def has(self, reference: Reference) -> bool:
        digest = reference.digest
        if digest is None:
            return False
        with self._lock:
            proven = (reference.name, digest) in self._proven
        return proven and self._owner(digest) == reference.host

    def told(self, reference: Reference) -> None:
        if reference.digest is None:
            return
        with self._lock:
            self._proven[reference.name, reference.digest] = None
            self._proven.move_to_end((reference.name, reference.digest))
            if len(self._proven) > _REMEMBERED:
                self._proven.popitem(last=False)

    def take(self, reference: Reference) -> bool:
        if reference.digest is None:
            return False
        self.told(reference)
        with suppress(OSError):
            self._write(reference.digest, reference.host)
        return self._owner(reference.digest) == reference.host

    def _write(self, digest: Digest, host: str) -> None:
        """Name the owner, unless there is one: the name appears whole or not at all."""
        path = self._path(digest)
        if path.exists():
            return
        mine = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
        try:
            mine.write_text(host)
            with suppress(FileExistsError):
                os.link(mine, path)
        finally:
            mine.unlink(missing_ok=True)

    def _owner(self, digest: Digest) -> str:
        try:
            return self._path(digest).read_text()
        except OSError:
            return ""

    def _path(self, digest: Digest) -> Path:
        return self._folder / f"{digest.algorithm}-{digest.hex}"

    def _tidy(self) -> None:
        """Forget the owners of what is gone."""
        kept = {self._path(digest).name for digest in self._spool.digests()}
        before = time.time() - _LIFETIME
        for path in self._folder.iterdir():
            with suppress(OSError):
                if path.name not in kept and path.stat().st_mtime < before:
                    path.unlink()
