"""The writing half of the distribution API (distribution-spec, "Push" and "Content Management")."""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from registry.address import Address
from registry.credentials import Credentials
from registry.digest import Digest
from registry.errors import Corrupt, RegistryError, ServerFailure
from registry.failures import raise_for
from registry.manifest import Descriptor, Manifest
from registry.pipes import Piece
from registry.reference import Reference
from registry.response import Response
from registry.transport import Transport


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload session that a registry has opened, and the credentials that opened it."""

    host: str
    target: str
    scope: str
    credentials: Credentials | None


def begin(transport: Transport, reference: Reference, credentials: Credentials | None) -> Upload:
    """Open an upload session for a blob."""
    path, scope = f"/v2/{reference.repository}/blobs/uploads/", _scope(reference)
    with transport.send("POST", reference.host, path, credentials=credentials, scope=scope) as response:
        raise_for(response, f"upload to {reference.name}")
        return _upload(response, reference, credentials)


def resume(transport: Transport, upload: Upload) -> tuple[Upload, int]:
    """A broken upload as it can go on, and how many bytes of it the registry has; raises NotFound and the like."""
    with transport.send(
        "GET", upload.host, upload.target, credentials=upload.credentials, scope=upload.scope
    ) as response:
        raise_for(response, "broken upload")
        target = Address.parse(response.headers.get("Location") or upload.target, response.address)
        if target.origin != response.address.origin:
            raise ServerFailure(f"{upload.host} wants a broken upload to go on at another host")
        return replace(upload, target=target.target), _received(response)


def finish(
    transport: Transport, upload: Upload, descriptor: Descriptor, pieces: Iterable[Piece], start: int = 0
) -> None:
    """Send the blob from byte `start` on in one request; raises Corrupt when `pieces` are more or fewer than that."""
    joint = "&" if "?" in upload.target else "?"
    chunk = {"Content-Range": f"{start}-{descriptor.size - 1}"} if 0 < start < descriptor.size else {}
    with transport.send(
        "PUT",
        upload.host,
        f"{upload.target}{joint}digest={descriptor.digest}",
        headers={"Content-Type": "application/octet-stream", **chunk},
        body=_Pieces(pieces, descriptor, start) if descriptor.size > start else _joined(pieces),
        credentials=upload.credentials,
        scope=upload.scope,
    ) as response:
        raise_for(response, f"upload of blob {descriptor.digest}")
        _compare(response, upload.host, descriptor.digest)


def mount_or_begin(
    transport: Transport, reference: Reference, digest: Digest, source: str, credentials: Credentials | None
) -> Upload | None:
    """Mount a blob of repository `source`; a registry that does not opens a session for it instead, which is given."""
    with transport.send(
        "POST",
        reference.host,
        f"/v2/{reference.repository}/blobs/uploads/",
        params={"mount": str(digest), "from": source},
        credentials=credentials,
        scope=f"{_scope(reference)} repository:{source}:pull",
    ) as response:
        raise_for(response, f"mount of blob {digest} into {reference.name}")
        return None if response.status == 201 else _upload(response, reference, credentials)


def cancel(transport: Transport, upload: Upload) -> None:
    """Close a session; where that fails the registry drops it by itself, only later."""
    with contextlib.suppress(RegistryError):
        transport.send(
            "DELETE", upload.host, upload.target, credentials=upload.credentials, scope=upload.scope
        ).discard()


def manifest(transport: Transport, reference: Reference, content: Manifest, credentials: Credentials | None) -> None:
    """Put a manifest's bytes under the tag, or under its digest; what the registry calls it is compared."""
    with transport.send(
        "PUT",
        reference.host,
        f"/v2/{reference.repository}/manifests/{reference.tag or content.digest}",
        headers={"Content-Type": content.media_type},
        body=content.raw,
        credentials=credentials,
        scope=_scope(reference),
    ) as response:
        raise_for(response, f"push of manifest {reference}")
        _compare(response, reference.host, content.digest)


def delete(transport: Transport, reference: Reference, credentials: Credentials | None) -> None:
    """Remove a tag, or the manifest when the reference has none: deleting a digest takes its other tags along."""
    path = f"/v2/{reference.repository}/manifests/{reference.tag or reference.target}"
    scope = f"repository:{reference.repository}:delete"
    with transport.send("DELETE", reference.host, path, credentials=credentials, scope=scope) as response:
        raise_for(response, f"removal of {reference}")


def _compare(response: Response, host: str, digest: Digest) -> None:
    claimed = response.headers.get("Docker-Content-Digest", "").strip()
    if claimed.startswith(f"{digest.algorithm}:") and claimed != str(digest):
        raise Corrupt(f"{host} stored {digest} as {claimed[:140]}")


def _scope(reference: Reference) -> str:
    return f"repository:{reference.repository}:pull,push"


def _upload(response: Response, reference: Reference, credentials: Credentials | None) -> Upload:
    location = response.headers.get("Location")
    if not location:
        raise ServerFailure(f"{reference.host} opened an upload without saying where")
    target = Address.parse(location, response.address)
    if target.origin == response.address.origin:
        return Upload(reference.host, target.target, _scope(reference), credentials)
    if target.scheme != "https":
        raise RegistryError(f"{reference.host} wants the upload at {target}, which is another host without TLS")
    return Upload(target.host, target.target, "", None)


def _received(response: Response) -> int:
    """The bytes that an upload has, from `Range: 0-<last>`; 0 also where the registry does not tell."""
    first, _, last = response.headers.get("Range", "").strip().removeprefix("bytes=").partition("-")
    if first != "0" or not (last.isdecimal() and last.isascii() and 0 < len(last) < 20):
        return 0
    return int(last) + 1 if int(last) else 0  # 0-0 is also what a registry says that has nothing


def _joined(pieces: Iterable[Piece]) -> bytes:
    return b"".join(piece if isinstance(piece, bytes) else b"".join(piece) for piece in pieces)


class _Pieces:
    """A request body with a length, which holds its source to it."""

    def __init__(self, pieces: Iterable[Piece], descriptor: Descriptor, start: int) -> None:
        self._start = start
        self._pieces = pieces
        self._descriptor = descriptor

    def __len__(self) -> int:
        return self._descriptor.size - self._start

    def __iter__(self) -> Iterator[Piece]:
        sent, size = self._start, self._descriptor.size
        for piece in self._pieces:
            sent += len(piece)
            if sent > size:
                raise Corrupt(f"blob {self._descriptor.digest} has more than the {size} bytes of its descriptor")
            yield piece
        if sent < size:
            raise Corrupt(f"blob {self._descriptor.digest} ended after {sent} of {size} bytes")
