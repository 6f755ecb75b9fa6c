"""Whether a registry has all of an image: its tag, every manifest of the wanted platforms, and every blob of those."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from hooks.progress import RUNNING
from hooks.refresh import earlier, kept
from hooks.volumes import DAMAGED, MISSING, WHOLE
from kube.types import Object, metadata, part, texts
from kuik.keeper.kept import PRIVATE, PUBLIC
from kuik.keeper.volume import file_of
from registry.client import Client
from registry.contents import Contents, contents
from registry.digest import Digest, InvalidDigest
from registry.errors import Corrupt, NoPlatform, NotFound, ServerFailure, Unsupported
from registry.manifest import MAX_MANIFEST, OCI_INDEX, Descriptor, Manifest, Platform
from registry.proxied import inside
from registry.reference import InvalidReference, Reference


@dataclass(frozen=True, slots=True)
class Subject:
    """A CachedImage to look at: its name and uid, the image, and what its status says is cached."""

    name: str
    uid: str
    image: Reference
    digest: Digest
    platforms: frozenset[Platform]
    private: bool
    referrers: bool = False
    """Whether what refers to it is kept beside it."""
    current: str = ""
    """The uid of the image whose earlier digest this is, or `beside` which this is kept; empty for the current one."""
    beside: bool = False

    @classmethod
    def read(cls, image: Object) -> "Subject | None":
        """From a CachedImage; None where nothing is copied yet, or a copy is under way that may change it."""
        status = part(image, "status")
        if status.get("copy") == RUNNING or uncopied(image):
            return None
        try:
            reference = Reference.parse(str(part(image, "spec").get("image")))
            digest = Digest.parse(str(status.get("digest")))
            platforms = frozenset(Platform.parse(text) for text in texts(status, "requestedPlatforms"))
        except (InvalidReference, InvalidDigest, ValueError):
            return None
        meta = metadata(image)
        name, uid = str(meta.get("name")), str(meta.get("uid"))
        private, referrers = status.get("copiedAs") == PRIVATE, status.get("referrers") is True
        return cls(name, uid, reference, digest, platforms, private, referrers)

    def earlier(self, image: Object, now: datetime) -> "tuple[Subject, ...]":
        """What the image's tag named before and is kept under an anchor, each to be looked at like the image itself."""
        found: list[Subject] = []
        for one in kept(earlier(image), str(self.digest), now):
            with suppress(InvalidDigest):
                digest = Digest.parse(one.digest)
                uid, named = f"{self.uid}/{digest.hex}", self.image.with_digest(digest)
                found.append(replace(self, uid=uid, digest=digest, image=named, referrers=False, current=self.uid))
        return tuple(found)

    def at(self, host: str) -> Reference:
        """Its place in the registry at `host`; raises InvalidReference where there is none."""
        return inside(self.image, host, private=self.private)


def uncopied(image: Object) -> bool:
    """Whether no copy was ever made for this very CachedImage: its status does not tell of which platforms."""
    status = part(image, "status")
    return status.get("copiedAs") not in (PUBLIC, PRIVATE) and not isinstance(status.get("requestedPlatforms"), list)


def named(client: Client, host: str, image: Object) -> Subject | None:
    """What the registry has under the name of an image that was not copied for its CachedImage: imported, or copied for
    one of the same name that was deleted. None where it has nothing; raises RegistryError where that cannot be told."""
    try:
        reference = Reference.parse(str(part(image, "spec").get("image")))
        platforms = frozenset(Platform.parse(text) for text in texts(part(image, "spec"), "platforms"))
    except ValueError:
        return None
    meta = metadata(image)
    for private in (False, True):
        with suppress(NotFound, InvalidReference):
            place = inside(reference, host, private=private)
            digest = client.head(Reference(place.host, place.repository, reference.anchor)).digest
            return Subject(str(meta.get("name")), str(meta.get("uid")), reference, digest, platforms, private)
    return None


@dataclass(frozen=True, slots=True)
class Look:
    """What was found: Whole, Missing or Damaged, with a sentence. `parts` are all digests with their sizes in bytes, as
    far as they are known; `untagged` where only the tag is missing or names something else."""

    state: str
    message: str = ""
    parts: tuple[Descriptor, ...] = ()
    untagged: bool = False
    otherwise: bool = False
    beside: bool = False
    """Whether something that was attached to it is lost or damaged."""


def look(client: Client, host: str, subject: Subject, folder: Path | None = None) -> Look:
    """See whether all of it is there, without reading blobs; manifests are compared with their digests, in `folder` too
    where that is the registry's. Raises RegistryError where that cannot be told."""
    place = subject.at(host)
    try:
        found = _contents(client, place, subject, folder)
    except NotFound as error:
        return Look(MISSING, str(error))
    except _Wrong as wrong:
        return Look(DAMAGED, f"the bytes stored as manifest {wrong.part.digest} are others", (wrong.part,))
    parts = (*(manifest.descriptor for manifest in found.manifests), *found.blobs)
    earlier_one = bool(subject.current) and not subject.beside
    if found.absent and not (earlier_one and any(not one.is_index for one in found.manifests)):
        # Of an earlier digest other platforms may have been wanted than today.
        return Look(MISSING, f"manifest {found.absent[0]} is not there", parts)
    for bad in _blobs(client, place, found, parts, folder):
        return bad
    return _tagged(client, place, subject, parts)


class _Wrong(Exception):
    """A stored manifest is not what its digest says."""

    def __init__(self, part: Descriptor) -> None:
        super().__init__(str(part.digest))
        self.part = part


def _contents(client: Client, place: Reference, subject: Subject, folder: Path | None) -> Contents:
    def load(child: Descriptor) -> Manifest | None:
        if folder is not None and _differs(file_of(folder, child.digest), child.digest):
            raise _Wrong(child)  # the registry may fail at it in any way, or give it as it is
        try:
            return _loaded(client, place.with_digest(child.digest), surely=folder is not None)
        except NotFound:
            return None
        except Corrupt as error:
            raise _Wrong(child) from error

    root = load(Descriptor(OCI_INDEX, subject.digest, 0))
    if root is None:
        raise NotFound(f"manifest {subject.digest} is not there")
    try:
        return contents(root, subject.platforms, load)
    except (NoPlatform, Unsupported):
        return contents(root, frozenset(), lambda _child: None)


def _loaded(client: Client, place: Reference, *, surely: bool) -> Manifest:
    """A manifest; raises Corrupt also where a registry that is well fails at this one, unless its bytes are `surely`
    right: distribution answers 500 where it cannot parse what it stored, as if its storage were away."""
    try:
        return client.manifest(place)
    except ServerFailure:
        if surely or place.digest is None:
            raise
        client.has_blob(place, place.digest)  # asks the storage, too: raises where that is what fails
    try:
        return client.manifest(place)
    except ServerFailure as error:
        raise Corrupt(f"the registry fails at it: {error}") from error


def _differs(path: Path, digest: Digest) -> bool:
    """Whether there is a file with other bytes, or with bytes that nobody can read."""
    try:
        with path.open("rb") as file:
            return Digest.of(file.read(MAX_MANIFEST + 1), digest.algorithm) != digest
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _unreadable(path: Path) -> str:
    """Why what is there cannot be read, empty where it can be or is not there."""
    try:
        path.open("rb").close()
    except FileNotFoundError:
        return ""
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _blobs(
    client: Client, place: Reference, found: Contents, parts: tuple[Descriptor, ...], folder: Path | None
) -> Iterator[Look]:
    for blob in found.blobs:
        # The registry may fail at it, or say that it is not there, and yet takes no other bytes for it.
        if folder is not None and (why := _unreadable(file_of(folder, blob.digest))):
            yield Look(DAMAGED, f"blob {blob.digest} cannot be read: {why}", (blob,))
        size = client.has_blob(place, blob.digest)
        if size is None and not blob.urls:  # what its vendor alone may give is kept by nobody
            yield Look(MISSING, f"blob {blob.digest} is not there", parts)
        elif size is not None and size != blob.size:
            yield Look(DAMAGED, f"blob {blob.digest} has {size} of {blob.size} bytes", (blob,))


def _tagged(client: Client, place: Reference, subject: Subject, parts: tuple[Descriptor, ...]) -> Look:
    """How an image of which all parts are there stands: its tag is all that is left to look at."""
    named = subject.image.anchor
    try:
        digest = client.head(Reference(place.host, place.repository, named)).digest
    except NotFound:
        return Look(MISSING, f"nothing has the tag {named}", parts, untagged=True)
    if digest != subject.digest:
        return Look(MISSING, f"the tag {named} names {digest}", parts, untagged=True, otherwise=True)
    return Look(WHOLE, "", parts)
