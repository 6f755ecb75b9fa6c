"""Blobs on their way into a registry: one whose transfer breaks goes on where the registry has it.

A blob is sent in one request, which is fastest. Where that breaks, the registry is asked how much it has ("Pushing a
blob in chunks", distribution-spec), and the rest is sent as the last chunk. The registry verifies the whole.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext

from registry.client import Client
from registry.commons import Commons
from registry.copy import Fetch
from registry.digest import Digest
from registry.errors import NotFound, RegistryError, ServerFailure, Unreachable
from registry.manifest import Descriptor
from registry.pipes import Piece, piped
from registry.push import Upload
from registry.reference import Reference
from registry.response import TimedOut

_PROGRESS = 8 << 20


class Uploads:
    """The uploads to one registry; what broke is remembered, also from one attempt of a copy to the next.

    A registry that does not keep what came of a broken upload, or refuses the rest, gets the whole blob anew.
    """

    def __init__(self, client: Client, commons: Commons) -> None:
        self._client = client
        self._commons = commons
        self._retries = client.transport.retries
        self._broken: dict[tuple[str, Digest], Upload] = {}

    def put(self, place: Reference, blob: Descriptor, fetch: Fetch) -> None:
        """Send the blob unless it is there; raises what the source says, and the registry after its last break."""
        breaks = mark = 0
        opens: Callable[[Reference, Descriptor], Upload | None] = self._commons.begin
        while self._client.has_blob(place, blob.digest) != blob.size:
            upload, start = self._kept(place, blob)
            if upload is None:
                with takes_none(place.host):
                    upload = opens(place, blob)
            if upload is None:  # it was mounted: to be looked at, and sent where it is not what it should be
                opens = self._begin
                continue
            breaks, mark = (breaks if start - mark < _PROGRESS else 0), start
            broken = self._send(place, blob, upload, start, fetch)
            if broken is None:
                self._commons.add(place, blob)
                return
            breaks += 2 if isinstance(broken, TimedOut) else 1
            if breaks > self._retries.breaks:
                raise broken
            self._retries.sleep(self._retries.pause(breaks))

    def _begin(self, place: Reference, _blob: Descriptor) -> Upload:
        return self._client.begin_upload(place)

    def _kept(self, place: Reference, blob: Descriptor) -> tuple[Upload | None, int]:
        """A broken upload that can go on, and from which byte."""
        key = place.name, blob.digest
        upload = self._broken.get(key)
        if upload is None:
            return None, 0
        try:
            upload, start = self._client.resume_upload(upload)
        except RegistryError as error:
            if isinstance(error, Unreachable) and not isinstance(error, ServerFailure):
                raise
            start = 0
        if not 0 < start <= blob.size:
            del self._broken[key]
            return None, 0
        return upload, start

    def _send(
        self, place: Reference, blob: Descriptor, upload: Upload, start: int, fetch: Fetch
    ) -> RegistryError | None:
        """Send what is missing; gives the error after which another attempt is worth it."""
        key = place.name, blob.digest
        try:
            with nullcontext(()) if 0 < start == blob.size else fetch(start) as pieces:
                body = _Heard(piped(pieces) if blob.size > start else pieces)
                try:
                    self._client.finish_upload(upload, blob, body, start)
                except NotFound as error:
                    if body.failed:
                        raise
                    self._broken.pop(key, None)
                    return ServerFailure(f"{upload.host} forgot the upload of blob {blob.digest}: {error}")
                except RegistryError as error:
                    if body.failed or (isinstance(error, Unreachable) and not isinstance(error, ServerFailure)):
                        self._broken[key] = upload
                    else:
                        self._broken.pop(key, None)
                    if body.failed or (key not in self._broken and not start):
                        raise
                    return error
        except RegistryError:
            if key not in self._broken:
                self._client.cancel_upload(upload)
            raise
        self._broken.pop(key, None)
        return None


@contextmanager
def takes_none(host: str) -> Iterator[None]:
    """What is pushed cannot be unknown: to be told so says nothing of the image, but that this is no place for it."""
    try:
        yield
    except NotFound as error:
        raise ServerFailure(f"{host} takes no images there: {error}") from error


class _Heard:
    """Pieces of a source, which remembers that it was the source that failed."""

    def __init__(self, pieces: Iterable[Piece]) -> None:
        self._pieces = pieces
        self.failed = False

    def __iter__(self) -> Iterator[Piece]:
        try:
            yield from self._pieces
        except RegistryError:
            self.failed = True
            raise
