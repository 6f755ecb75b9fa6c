"""A copy's source: the shield, of whose replicas each image and blob has one that is asked first, as by all callers."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from registry.blobstream import BlobStream, ContinuedStream
from registry.client import Client
from registry.digest import Digest
from registry.errors import RegistryError, Unreachable
from registry.manifest import Manifest
from registry.proxied import inside
from registry.reference import Reference
from registry.rendezvous import blob_key, manifest_key, ordered

T = TypeVar("T")


@dataclass(frozen=True)
class ThroughShield:
    """Every image is asked for by its name at a replica (`host:port`) of the shield, public or private.

    A replica that does not answer is passed over for the next, also in the middle of a blob; what one says of the
    image is the shield's word.
    """

    client: Client
    replicas: tuple[str, ...]
    private: bool = False

    def manifest(self, reference: Reference) -> Manifest:
        replicas = ordered(self.replicas, manifest_key(reference))
        return _first(replicas, lambda replica: self.client.manifest(self._place(reference, replica)))[0]

    def referrers(self, reference: Reference) -> bytes:
        replicas = ordered(self.replicas, manifest_key(reference))
        return _first(replicas, lambda replica: self.client.referrers(self._place(reference, replica)))[0]

    def open_blob(self, reference: Reference, digest: Digest, start: int = 0) -> BlobStream:
        return self._open(ordered(self.replicas, blob_key(digest)), reference, digest, start)

    def _open(self, replicas: tuple[str, ...], reference: Reference, digest: Digest, start: int) -> BlobStream:
        def ask(replica: str) -> BlobStream:
            return self.client.open_blob(self._place(reference, replica), digest, start)

        stream, others = _first(replicas, ask)
        return ContinuedStream(stream, start, partial(self._open, others, reference, digest)) if others else stream

    def _place(self, reference: Reference, replica: str) -> Reference:
        return inside(reference, replica, private=self.private)


def _first(replicas: tuple[str, ...], ask: Callable[[str], T]) -> tuple[T, tuple[str, ...]]:
    """The answer of the first replica that has one, and those behind it; raises the last one's error."""
    missing: RegistryError = Unreachable("the copy was given no shield")
    for number, replica in enumerate(replicas, start=1):
        try:
            return ask(replica), replicas[number:]
        except Unreachable as error:
            missing = error
    raise missing
