"""What the serving process must know of the pods' images and secrets: told through a file that has no name.

The file is unlinked when it is made, so nothing of it stays on disk, and the serving process inherits it open: after
a restart of that process the last word is still there.
"""

import fcntl
import os
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import orjson

from registry.credentials import Credentials, DockerConfig
from registry.reference import InvalidReference, Reference


@dataclass(frozen=True)
class Knowledge:
    """The docker configs of the pull secrets (`namespace/name`), and which secrets each image's pods name."""

    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    images: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def keyring(self) -> Callable[[Reference], tuple[Credentials, ...]]:
        """Finds the credentials that the users of a repository have for it."""
        by_repository: dict[str, list[DockerConfig]] = {}
        configs = {name: DockerConfig.parse(text) for name, text in self.secrets.items()}
        for image, secrets in self.images.items():
            try:
                name = Reference.parse(image).name
            except InvalidReference:
                continue
            by_repository.setdefault(name, []).extend(configs[secret] for secret in secrets if secret in configs)

        def credentials(reference: Reference) -> tuple[Credentials, ...]:
            joined = DockerConfig.joined(by_repository.get(reference.name, ()))
            return joined.match(reference.host, reference.repository)

        return credentials


class Feed:
    """Both ends of the file: `tell` in the process that knows, `keyring` in the one that asks."""

    def __init__(self, descriptor: int | None = None) -> None:
        if descriptor is None:
            with tempfile.TemporaryFile() as file:
                descriptor = os.dup(file.fileno())
        self.descriptor = descriptor
        self._lock = threading.Lock()
        self._said = b""
        self._keyring = Knowledge().keyring()

    def tell(self, knowledge: Knowledge) -> None:
        """Replace what the other process knows."""
        said = orjson.dumps({"secrets": dict(knowledge.secrets), "images": dict(knowledge.images)})
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
        with self._lock:
            said = self._read()
            if said != self._said:
                self._said = said
                told = orjson.loads(said)
                self._keyring = Knowledge(told["secrets"], told["images"]).keyring()
            keyring = self._keyring
        return keyring(reference)

    def _read(self) -> bytes:
        fcntl.lockf(self.descriptor, fcntl.LOCK_SH)
        try:
            return os.pread(self.descriptor, os.fstat(self.descriptor).st_size, 0)
        finally:
            fcntl.lockf(self.descriptor, fcntl.LOCK_UN)
