"""What is kept beside images: the tags of what was attached to them, each looked after as an image is.

A registry does not tell what it lost. So what was seen once is remembered as long as the process lives, and the other
volumes are asked what they have.
"""

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from kuik.keeper.healing import Siblings
from kuik.keeper.volume import Volume
from kuik.keeper.whole import Subject
from registry.attached import fallback_tag, subject_of
from registry.client import Client
from registry.digest import Digest
from registry.errors import NotFound, RegistryError, ServerFailure
from registry.manifest import INDEX_TYPES, MANIFEST_TYPES, Descriptor
from registry.reference import Reference


@dataclass
class Beside:
    """For the images of one volume, by their uid; one thread uses it."""

    volume: Volume
    siblings: Siblings
    _known: dict[str, dict[str, Digest]] = field(default_factory=dict)
    _asked: set[str] = field(default_factory=set)
    _unreadable: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def see(self, subject: Subject, parts: Iterable[Descriptor]) -> None:
        """Find what is attached to an image that is whole, and made of these parts; raises RegistryError."""
        if not subject.referrers:
            self.keep(self._known.keys() - {subject.uid})
            return
        manifests = (part.digest for part in parts if part.media_type in INDEX_TYPES | MANIFEST_TYPES)
        wanted = {fallback_tag(digest) for digest in manifests}
        known = self._known.setdefault(subject.uid, {})
        if subject.uid not in self._asked:
            with suppress(RegistryError):  # then at the next look
                for host in self.siblings.hosts:
                    known |= _named(self.siblings.client, subject.at(host), wanted)[0]
                self._asked.add(subject.uid)
        found, lost = _named(self.volume.client, subject.at(self.volume.host), wanted)
        known |= found
        self._unreadable[subject.uid] = tuple(sorted(lost - known.keys()))

    def of(self, subject: Subject) -> tuple[Subject, ...]:
        """What is known to be attached to it, to be looked at like an image."""
        known = self._known.get(subject.uid, {})
        return tuple(_beside(subject, tag, digest) for tag, digest in sorted(known.items()))

    def unreadable(self, subject: Subject) -> tuple[str, ...]:
        """Tags of which nobody knows any more what they named."""
        return self._unreadable.get(subject.uid, ())

    def keep(self, uids: Collection[str]) -> None:
        """Forget all other images."""
        for uid in self._known.keys() - set(uids):
            del self._known[uid]
            self._asked.discard(uid)
            self._unreadable.pop(uid, None)


def _beside(subject: Subject, tag: str, digest: Digest) -> Subject:
    image = Reference(subject.image.host, subject.image.repository, tag)
    uid = f"{subject.uid}/{tag}"
    return replace(
        subject, uid=uid, image=image, digest=digest, platforms=frozenset(), current=subject.uid, beside=True
    )


def _named(client: Client, place: Reference, wanted: Collection[str]) -> tuple[Mapping[str, Digest], set[str]]:
    """What the attached tags of a repository name, and the tags that name what cannot be read."""
    found: dict[str, Digest] = {}
    lost: set[str] = set()
    for tag in client.tags(place):
        if subject_of(tag) in wanted:
            try:
                found[tag] = client.head(Reference(place.host, place.repository, tag)).digest
            except (NotFound, ServerFailure):  # the registry has answered for its tags: it is well
                lost.add(tag)
    return found, lost
