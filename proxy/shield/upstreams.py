"""Registries as the shield asks them: each question in its turn and through its breaker, a registry's mirrors first."""

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

from proxy.shield.limits import Turns
from registry.blobstream import BlobStream, ContinuedStream
from registry.client import Client
from registry.credentials import Credentials
from registry.digest import Digest
from registry.errors import NotFound, RegistryError, Unreachable
from registry.manifest import Descriptor, Manifest
from registry.reference import Reference
from registry.settings import Mirror
from registry.transport import Retries, Timeouts, Transport

T = TypeVar("T")
MirrorKeyring = Callable[[Reference, Reference], Iterable[Credentials]]
"""The credentials that the users of an image have for a place where a mirror has it: those for the mirror's host."""
ONCE = Retries(attempts=1, breaks=0)
_log = logging.getLogger("kuik.mirror")


def no_mirrors(_host: str) -> Sequence[Mirror]:
    """No registry has any."""
    return ()


def no_mirror_credentials(_image: Reference, _place: Reference) -> Iterable[Credentials]:
    """Mirrors are asked anonymously."""
    return ()


class Mirrors:
    """The clients by which mirrors are asked: one try, a short time-out, and never another host's credentials.

    `connect` makes a transport with the time-outs and retries given.
    """

    def __init__(
        self,
        of: Callable[[str], Sequence[Mirror]],
        connect: Callable[[Timeouts, Retries], Transport],
        keyring: MirrorKeyring = no_mirror_credentials,
    ) -> None:
        self.of = of
        self._connect = connect
        self._keyring = keyring
        self._transports: dict[float, Transport] = {}
        self._clients: dict[Mirror, Client] = {}
        self._lock = threading.Lock()

    def client(self, mirror: Mirror) -> Client:
        """The client for a mirror."""
        with self._lock:
            if mirror not in self._clients:
                transport = self._transports.get(mirror.seconds)
                if transport is None:
                    timeouts = Timeouts(connect=min(mirror.seconds, 1.5), read=mirror.seconds)
                    transport = self._transports[mirror.seconds] = self._connect(timeouts, ONCE)
                self._clients[mirror] = Client(
                    transport, lambda place: tuple(self._keyring(mirror.original(place), place))
                )
            return self._clients[mirror]


class Upstreams(Client):
    """The reading half of a Client, for registries with breakers, limits and mirrors. Threads share it.

    A mirror's failure, whatever it is, only means that the next one is asked, and at last the registry itself.
    """

    def __init__(self, client: Client, turns: Turns, mirrors: Mirrors | None = None) -> None:
        super().__init__(client.transport)
        self._client = client
        self._turns = turns
        self._mirrors = mirrors

    def head(self, reference: Reference) -> Descriptor:
        return self._first(reference, lambda client, place: client.head(place))

    def manifest(self, reference: Reference) -> Manifest:
        return self._first(reference, lambda client, place: client.manifest(place))

    def tags(self, reference: Reference) -> tuple[str, ...]:
        return self._first(reference, lambda client, place: client.tags(place))

    def referrers(self, reference: Reference, artifact_type: str = "") -> bytes:
        return self._first(reference, lambda client, place: client.referrers(place, artifact_type))

    def has_blob(self, reference: Reference, digest: Digest) -> int | None:
        def ask(client: Client, place: Reference) -> int:
            size = client.has_blob(place, digest)
            if size is None:
                raise NotFound(f"blob {digest} of {place.name} is not there, or of unknown size")
            return size

        try:
            return self._first(reference, ask)
        except NotFound:
            return None

    def open_blob(self, reference: Reference, digest: Digest, start: int = 0) -> BlobStream:
        """As Client.open_blob; what a mirror does not bring to its end, the next one and the registry go on with."""

        def ask(client: Client, place: Reference) -> BlobStream:
            return client.open_blob(place, digest, start)

        for mirror in self._of(reference):
            stream = self._at(mirror, reference, ask)
            if stream:
                return ContinuedStream(stream, start, partial(self._after, mirror, reference, digest))
        return self._own(reference, ask)

    def _after(self, mirror: Mirror, reference: Reference, digest: Digest, start: int) -> BlobStream:
        """The rest of a blob that a mirror stopped to send: the mirror is left alone, so that it is not asked again."""
        try:
            with self._turns.guard(mirror.host):
                raise Unreachable(f"the mirror {mirror.host} broke off")
        except RegistryError as error:
            _log.info("%s: %s", reference, error)
        return self.open_blob(reference, digest, start)

    def _first(self, reference: Reference, ask: Callable[[Client, Reference], T]) -> T:
        for mirror in self._of(reference):
            found = self._at(mirror, reference, ask)
            if found is not None:
                return found
        return self._own(reference, ask)

    def _of(self, reference: Reference) -> Sequence[Mirror]:
        return self._mirrors.of(reference.host) if self._mirrors else ()

    def _at(self, mirror: Mirror, reference: Reference, ask: Callable[[Client, Reference], T]) -> T | None:
        assert self._mirrors  # noqa: S101  there is one
        place = mirror.place(reference)
        try:
            with self._turns.guard(place.host):
                return ask(self._mirrors.client(mirror), place)
        except RegistryError as error:
            _log.info("%s: the mirror %s does not have it: %s", reference, place.host, error)
            return None

    def _own(self, reference: Reference, ask: Callable[[Client, Reference], T]) -> T:
        with self._turns.guard(reference.host):
            return ask(self._client, reference)
