"""The OCI distribution API as a reader uses it (distribution-spec, "Pull" and "Content Discovery")."""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from urllib.parse import urlencode, urlsplit

from registry import push
from registry.access import Access, Renew, nothing_newer
from registry.blobstream import BlobStream
from registry.credentials import Credentials, Keyring, no_credentials
from registry.digest import Digest, InvalidDigest
from registry.errors import Corrupt, NotFound, Unreachable, Unsupported
from registry.failures import raise_for
from registry.manifest import (
    ACCEPT,
    INDEX_TYPES,
    MANIFEST_TYPES,
    MAX_MANIFEST,
    OCI_INDEX,
    Descriptor,
    Manifest,
    parse_manifest,
)
from registry.pipes import Piece
from registry.reference import Reference, is_tag
from registry.response import Response, TimedOut
from registry.transport import Transport

_MAX_TAGS_PAGE = 4 << 20
_MAX_TAG_PAGES = 100
_MAX_TAGS = 100_000
"""With names as long as they may be, 18 MB: a registry may send names without end."""
SLOWEST = 60.0
"""Seconds for a manifest or a page of tags to come whole, once it began: others wait for the same one."""
_NO_HEAD = frozenset({400, 405, 501})


class _BrokeOff(Unreachable):
    """The answer had begun when it ended."""


class Client:
    """One client for all registries; threads share it.

    Each repository is asked anonymously first (unless `anonymously` is False), then with each of the keyring's
    credentials; the one that worked is remembered for as long as the keyring still offers it. `renew` is called where
    all were refused.
    """

    def __init__(
        self,
        transport: Transport,
        keyring: Keyring = no_credentials,
        renew: Renew = nothing_newer,
        *,
        anonymously: bool = True,
    ) -> None:
        self.transport = transport
        self._access = Access(keyring, renew, anonymously=anonymously)

    def ping(self, host: str) -> None:
        """Return when a registry answers at `host`, with or without asking for credentials; else raise."""
        with self.transport.send("GET", host, "/v2/") as response:
            if response.status != 401:
                raise_for(response, f"registry {host}")

    def head(self, reference: Reference) -> Descriptor:
        """What the registry has under this name, without fetching it where it can tell by HEAD."""

        def ask(credentials: Credentials | None) -> Descriptor | None:
            with self._manifest("HEAD", reference, credentials) as response:
                if response.status in _NO_HEAD:
                    return None
                raise_for(response, f"manifest of {reference}")
                return _described(response, reference)

        found = self._access.attempt(reference, ask)
        return found or self.manifest(reference).descriptor

    def manifest(self, reference: Reference) -> Manifest:
        """The manifest or index, verified against the reference's digest or else the one the registry claims.

        Raises NotFound, Unauthorized, RateLimited, Unreachable, TLSFailure, Corrupt, Unsupported.
        """

        return self._access.attempt(reference, lambda credentials: self._read(reference, credentials))

    def open_blob(self, reference: Reference, digest: Digest, start: int = 0) -> BlobStream:
        """The bytes of a blob of this repository, from byte `start` on."""

        def ask(credentials: Credentials | None) -> BlobStream:
            def request(position: int) -> Response:
                headers = {"Range": f"bytes={position}-"} if position else {}
                return self._send("GET", reference, f"blobs/{digest}", credentials, headers=headers)

            return BlobStream(digest, start, request, self.transport.retries)

        return self._access.attempt(reference, ask)

    def has_blob(self, reference: Reference, digest: Digest) -> int | None:
        """The size in bytes of a blob of this repository; None when it is not there, or nobody tells its size."""
        return self._look_for(reference, digest)[1]

    def holds_blob(self, reference: Reference, digest: Digest) -> bool:
        """Whether a blob of this repository is there, also where nobody tells its size."""
        return self._look_for(reference, digest)[0]

    def _look_for(self, reference: Reference, digest: Digest) -> tuple[bool, int | None]:
        def ask(credentials: Credentials | None) -> int | None:
            with self._send("HEAD", reference, f"blobs/{digest}", credentials) as response:
                if response.status in _NO_HEAD:
                    return None
                raise_for(response, f"blob {digest} of {reference.name}")
                return response.length

        try:
            size = self._access.attempt(reference, ask)
            if size is not None:
                return True, size
            with self.open_blob(reference, digest) as stream:
                return True, stream.size
        except NotFound:
            return False, None

    def tags(self, reference: Reference) -> tuple[str, ...]:
        """The tags of the reference's repository, in the registry's order: all of them, where it has not too many."""
        return self._access.attempt(
            reference, lambda credentials: tuple(islice(self._tags(reference, credentials), _MAX_TAGS))
        )

    def referrers(self, reference: Reference, artifact_type: str = "") -> bytes:
        """The index of what refers to the reference's digest, its first page as the registry gives it.

        Raises NotFound also where the registry does not know this question (distribution-spec, "Listing Referrers").
        """
        query = f"?{urlencode({'artifactType': artifact_type})}" if artifact_type else ""

        def ask(credentials: Credentials | None) -> bytes:
            with self._send("GET", reference, f"referrers/{reference.digest}{query}", credentials) as response:
                raise_for(response, f"referrers of {reference}")
                raw = response.read(MAX_MANIFEST, SLOWEST)
            if not parse_manifest(raw, OCI_INDEX).is_index:
                raise Corrupt(f"referrers of {reference}: {reference.host} answered something that is no index")
            return raw

        return self._access.attempt(reference, ask)

    def push_blob(self, reference: Reference, descriptor: Descriptor, pieces: Iterable[bytes]) -> None:
        """Upload a blob of exactly the descriptor's size; the registry checks its digest."""
        self.finish_upload(self.begin_upload(reference), descriptor, pieces)

    def begin_upload(self, reference: Reference) -> push.Upload:
        """Open an upload session for a blob of the reference's repository."""
        return self._access.attempt(reference, lambda credentials: push.begin(self.transport, reference, credentials))

    def resume_upload(self, upload: push.Upload) -> tuple[push.Upload, int]:
        """A broken upload as it can go on, and how many bytes of it the registry has; raises NotFound and the like."""
        return push.resume(self.transport, upload)

    def finish_upload(
        self, upload: push.Upload, descriptor: Descriptor, pieces: Iterable[Piece], start: int = 0
    ) -> None:
        """Send a blob's bytes from `start` on; the registry checks the digest of the whole."""
        push.finish(self.transport, upload, descriptor, pieces, start)

    def mount_or_begin(self, reference: Reference, digest: Digest, source: str) -> push.Upload | None:
        """Make a blob of repository `source` of the same registry appear in this one; where that was not done, the
        upload session that the registry opened instead."""
        return self._access.attempt(
            reference, lambda credentials: push.mount_or_begin(self.transport, reference, digest, source, credentials)
        )

    def mount_blob(self, reference: Reference, digest: Digest, source: str) -> bool:
        """The same; False, and no session left, when it was not done."""
        upload = self.mount_or_begin(reference, digest, source)
        if upload:
            self.cancel_upload(upload)
        return upload is None

    def cancel_upload(self, upload: push.Upload) -> None:
        """Close an upload session; raises nothing, as the registry drops by itself what is left of it, only later."""
        push.cancel(self.transport, upload)

    def push_manifest(self, reference: Reference, manifest: Manifest) -> None:
        """Put the manifest's exact bytes under the reference's tag, or under its digest."""
        self._access.attempt(
            reference, lambda credentials: push.manifest(self.transport, reference, manifest, credentials)
        )

    def delete(self, reference: Reference) -> None:
        """Remove the tag, or for a reference without one the manifest; raises NotFound, Unsupported."""
        self._access.attempt(reference, lambda credentials: push.delete(self.transport, reference, credentials))

    def _read(self, reference: Reference, credentials: Credentials | None, *, again: bool = True) -> Manifest:
        try:
            with self._manifest("GET", reference, credentials) as response:
                raise_for(response, f"manifest of {reference}")
                return _read_manifest(response, reference)
        except _BrokeOff as broken:
            # A small answer is not worth resuming, but worth one more question.
            if not again or isinstance(broken.__cause__, TimedOut):
                raise
            return self._read(reference, credentials, again=False)

    def _manifest(self, method: str, reference: Reference, credentials: Credentials | None) -> Response:
        headers = {"Accept": ACCEPT}
        return self._send(method, reference, f"manifests/{reference.target}", credentials, headers=headers)

    def _send(
        self,
        method: str,
        reference: Reference,
        what: str,
        credentials: Credentials | None,
        *,
        headers: dict[str, str] | None = None,
    ) -> Response:
        return self.transport.send(
            method,
            reference.host,
            f"/v2/{reference.repository}/{what}",
            headers=headers,
            credentials=credentials,
            scope=f"repository:{reference.repository}:pull",
        )

    def _tags(self, reference: Reference, credentials: Credentials | None) -> Iterator[str]:
        page: str | None = "tags/list?n=1000"
        for _ in range(_MAX_TAG_PAGES):
            if page is None:
                return
            with self._send("GET", reference, page, credentials) as response:
                raise_for(response, f"tags of {reference.name}")
                yield from _tag_names(response, reference)
                page = _next_page(response.headers.get("Link"))


def _described(response: Response, reference: Reference) -> Descriptor | None:
    """What a HEAD tells of a manifest; None when it leaves something out that a GET will show."""
    media_type = _media_type(response)
    digest = reference.digest or _claimed(response)
    if digest is None or response.length is None or media_type not in MANIFEST_TYPES | INDEX_TYPES:
        return None
    return Descriptor(media_type, digest, response.length)


def _read_manifest(response: Response, reference: Reference) -> Manifest:
    try:
        raw = response.read(MAX_MANIFEST, SLOWEST)
    except Unreachable as error:
        raise _BrokeOff(str(error)) from error
    media_type = _media_type(response)
    try:
        return parse_manifest(raw, media_type, reference.digest or _claimed(response))
    except (Corrupt, Unsupported) as error:
        raise type(error)(f"manifest of {reference}: {error}") from error


def _media_type(response: Response) -> str:
    """The Content-Type without its parameters (RFC 9110, 8.3.1)."""
    return response.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _claimed(response: Response) -> Digest | None:
    """The digest that the registry says its answer has; None without one that can be checked."""
    try:
        return Digest.parse(response.headers.get("Docker-Content-Digest", "").strip())
    except InvalidDigest:
        return None


def _tag_names(response: Response, reference: Reference) -> list[str]:
    try:
        document = json.loads(response.read(_MAX_TAGS_PAGE, SLOWEST))
    except (ValueError, RecursionError):
        document = None
    names = document.get("tags") if isinstance(document, dict) else ()
    if not isinstance(names, list | type(None)):
        raise Corrupt(f"tags of {reference.name}: {reference.host} answered something that is not a list of tags")
    return [name for name in names or () if isinstance(name, str) and is_tag(name)]


def _next_page(link: str | None) -> str | None:
    """The next page's path below the repository, from `Link: <...?last=x&n=y>; rel="next"`."""
    if not link or 'rel="next"' not in link.replace("rel=next", 'rel="next"'):
        return None
    query = urlsplit(link.partition("<")[2].partition(">")[0]).query
    return f"tags/list?{query}" if query else None
