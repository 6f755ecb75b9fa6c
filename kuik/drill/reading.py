"""Reads images through a node proxy that is forbidden to ask upstream, as a node would, and hashes every byte."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from kuik import __version__
from kuik.archive.sources import kept_platforms
from kuik.check.copies import INCOMPLETE, PLATFORM_MISSING, Lack
from kuik.drill.question import Question, Said
from kuik.keeper.hashing import Pace
from proxy.exchange import ONLY_CACHED
from registry.blobstream import BlobStream
from registry.client import Client
from registry.contents import Contents, contents
from registry.digest import Digest
from registry.errors import Corrupt, NoPlatform, NotFound, RegistryError
from registry.manifest import Descriptor, Manifest, Platform
from registry.proxied import proxied
from registry.reference import InvalidReference, Reference
from registry.transport import HostSettings, Transport
from registry.verify import verified

_SAY_EVERY = 1.0
_TRIES = 2
"""A proxy that found a volume's bytes damaged asks the next volume when it is asked again, as by a kubelet."""


class NotForbidden(RegistryError):
    """The proxy did not say that it asks nobody else: it is another program, or an older release."""


@dataclass(frozen=True)
class ProxySource:
    """The images of a node proxy at `host` (`name:port`), as `client` gets them, each opened by `capability`."""

    client: Client
    host: str
    capability: str = field(default="", repr=False)

    def manifest(self, reference: Reference) -> Manifest:
        return self.client.manifest(self._place(reference))

    def open_blob(self, reference: Reference, digest: Digest, start: int = 0) -> BlobStream:
        return self.client.open_blob(self._place(reference), digest, start)

    def _place(self, reference: Reference) -> Reference:
        return proxied(reference, self.host, self.capability)


def only_cached(host: str) -> Client:
    """A client of the node proxy at `host`, whose questions are never passed on upstream.

    Raises NotForbidden where the proxy does not confirm that, and what registry errors there are.
    """
    settings = HostSettings(plain_http=True)
    transport = Transport(
        lambda _host: settings, user_agent=f"kuik/{__version__}", headers={"Cache-Control": ONLY_CACHED}
    )
    with transport.send("GET", host, "/v2/") as answer:
        if answer.status != 200 or answer.headers.get("Preference-Applied") != ONLY_CACHED:
            raise NotForbidden(f"{host} does not know how to answer from the cache alone: update kuik's node proxies")
    return Client(transport)


@dataclass
class Reader:
    """Reads images one after another; a blob that several share is read once. `clock` is monotonic, in seconds."""

    client: Client
    host: str
    pace: Pace
    clock: Callable[[], float] = time.monotonic
    _proven: set[Digest] = field(default_factory=set)

    def read(self, question: Question) -> Iterator[Said]:
        """What is to be said of an image: how far it is, now and then, and at the end what came of it."""
        count = 0
        said = self.clock()
        lack: Lack | None = None
        yield Said(question.image)
        try:
            for piece in self._bytes(question):
                count += piece
                if self.clock() - said >= _SAY_EVERY:
                    said = self.clock()
                    yield Said(question.image, count)
        except (RegistryError, InvalidReference) as error:
            lack = Lack(_word(error), self._told(error, question))
        yield Said(question.image, count, ends=True, lack=lack)

    def _told(self, error: Exception, question: Question) -> str:
        """In the image's own words: what opens a private one belongs into no log."""
        opened = f"private/{question.capability}/" if question.capability else ""
        return str(error).replace(f"{self.host}/{opened}", "").replace(question.capability or self.host, "the cache")

    def _bytes(self, question: Question) -> Iterator[int]:
        """The lengths of what was read; raises RegistryError for what is not there or not what it should be."""
        image = Reference.parse(question.image).identity
        source = ProxySource(self.client, self.host, question.capability)
        root = source.manifest(image)
        platforms = question.platforms or kept_platforms(source, image)
        each = [frozenset({one}) for one in sorted(platforms)] or [frozenset[Platform]()]
        blobs: dict[Digest, Descriptor] = {}
        for wanted in each:  # of several, it is enough for a copy that one is offered
            blobs |= {blob.digest: blob for blob in _whole(source, image, root, wanted).blobs}
        for blob in blobs.values():
            if blob.digest not in self._proven:
                yield from self._blob(source, image, blob)
                self._proven.add(blob.digest)

    def _blob(self, source: ProxySource, image: Reference, blob: Descriptor) -> Iterator[int]:
        for left in reversed(range(_TRIES)):
            try:
                with source.open_blob(image, blob.digest) as stream:
                    for piece in self.pace.through(verified(stream, blob.digest, blob.size)):
                        yield len(piece)
            except NotFound:
                if not blob.urls:  # what its vendor alone may give is kept by nobody
                    raise
            except Corrupt:
                if not left:
                    raise
                continue
            return


def _word(error: Exception) -> str:
    if isinstance(error, NoPlatform):
        return PLATFORM_MISSING
    if isinstance(error, NotFound):
        return INCOMPLETE
    return error.reason if isinstance(error, RegistryError) else "InvalidReference"


def _whole(source: ProxySource, image: Reference, root: Manifest, platforms: frozenset[Platform]) -> Contents:
    def load(child: Descriptor) -> Manifest | None:
        with suppress(NotFound):
            return source.manifest(image.with_digest(child.digest))
        return None

    found = contents(root, platforms, load)
    if found.absent:
        raise NotFound(f"manifest {found.absent[0]} is not in the cache")
    return found
