"""What the serving process must know of the pods' images and secrets: told through a file that has no name.

The file is unlinked when it is made, so nothing of it stays on disk, and the serving process inherits it open: after
a restart of that process the last word is still there.
"""

import fcntl
import os
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from proxy.shield.settings import Settings, read_settings
from proxy.shield.upstreams import MirrorKeyring
from registry.credentials import Credentials, DockerConfig
from registry.digest import Digest
from registry.reference import InvalidReference, Reference

_PARTS = ("secrets", "images", "spec", "pins")
_COARSE = 1_000_000_000
"""Nanoseconds in which a file's time may not tell two writes apart."""


@dataclass(frozen=True)
class Knowledge:
    """The docker configs of the pull secrets (`namespace/name`), and which secrets each image's pods name.

    `spec` is that of the ImageCache, as far as it counts here; `pins` are the digests of tags that stay.
    """

    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    images: Mapping[str, Sequence[str]] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict)
    pins: Mapping[str, str] = field(default_factory=dict)

    def keyring(self) -> MirrorKeyring:
        """Finds the credentials that the users of an image have for where it is asked for."""
        by_repository: dict[str, list[DockerConfig]] = {}
        configs = {name: DockerConfig.parse(text) for name, text in self.secrets.items()}
        for image, secrets in self.images.items():
            try:
                name = Reference.parse(image).name
            except InvalidReference:
                continue
            by_repository.setdefault(name, []).extend(configs[secret] for secret in secrets if secret in configs)

        def credentials(image: Reference, place: Reference) -> tuple[Credentials, ...]:
            joined = DockerConfig.joined(by_repository.get(image.name, ()))
            return joined.match(place.host, place.repository)

        return credentials


class Heard:
    """A word of the other process, read."""

    def __init__(self, knowledge: Knowledge) -> None:
        self.keyring = knowledge.keyring()
        self.settings = read_settings({"spec": knowledge.spec})
        self.pins = {Reference.parse(image): Digest.parse(digest) for image, digest in knowledge.pins.items()}


class Feed:
    """Both ends of the file: `tell` in the process that knows, everything else in the one that asks."""

    def __init__(self, descriptor: int | None = None) -> None:
        if descriptor is None:
            with tempfile.TemporaryFile() as file:
                descriptor = os.dup(file.fileno())
        self.descriptor = descriptor
        self._lock = threading.Lock()
        self._said = b""
        self._stamp = (-1, -1)
        self._newest = Heard(Knowledge())

    def tell(self, knowledge: Knowledge) -> None:
        """Replace what the other process knows."""
        said = orjson.dumps({name: dict(getattr(knowledge, name)) for name in _PARTS})
        if said == self._said:
            return
        fcntl.lockf(self.descriptor, fcntl.LOCK_EX)
        try:
            os.pwrite(self.descriptor, said, 0)
            os.ftruncate(self.descriptor, len(said))
        finally:
            fcntl.lockf(self.descriptor, fcntl.LOCK_UN)
        self._said = said

    def keyring(self, reference: Reference) -> tuple[Credentials, ...]:
        """The credentials for a repository, by the newest word."""
        return self.mirror_keyring(reference, reference)

    def mirror_keyring(self, image: Reference, place: Reference) -> tuple[Credentials, ...]:
        """The credentials that an image's users have for where a mirror has it, by the newest word."""
        return tuple(self._heard().keyring(image, place))

    def settings(self) -> Settings:
        """How registries are asked, by the newest word."""
        return self._heard().settings

    def pinned(self, reference: Reference) -> Digest | None:
        """The digest that a tag keeps, by the newest word."""
        return self._heard().pins.get(reference)

    def _heard(self) -> "Heard":
        with self._lock:
            status = os.fstat(self.descriptor)
            stamp = (status.st_mtime_ns, status.st_size)
            # The clock of files is coarse: what was written a moment ago may be written once more under the same time.
            if stamp != self._stamp or time.time_ns() - status.st_mtime_ns < _COARSE:
                said = self._read()
                if said and said != self._said:
                    self._said, self._newest = said, Heard(Knowledge(**orjson.loads(said)))
                self._stamp = stamp
            return self._newest

    def _read(self) -> bytes:
        fcntl.lockf(self.descriptor, fcntl.LOCK_SH)
        try:
            return os.pread(self.descriptor, os.fstat(self.descriptor).st_size, 0)
        finally:
            fcntl.lockf(self.descriptor, fcntl.LOCK_UN)
