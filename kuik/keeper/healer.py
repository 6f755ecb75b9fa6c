"""What is wrong on a volume is put right in a thread of its own, the most needed first, so that looks never wait."""

import logging
import threading
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from hooks.volumes import DAMAGED, WHOLE
from kube.types import Object
from kuik.keeper.hashing import Pace, wrong
from kuik.keeper.healing import Siblings, fill, mend, tag
from kuik.keeper.proofs import QUICKEST, Proofs
from kuik.keeper.tally import Tally
from kuik.keeper.volume import Volume, file_of
from kuik.keeper.whole import Look, Subject, look, named
from registry.digest import Digest
from registry.errors import NotFound, RegistryError
from registry.manifest import Descriptor

_log = logging.getLogger("kuik.keeper")

Need = tuple[bool, bool, str]
"""How an image is needed, the most needed is the least."""

_REST = 1.0
_MOST_MENDED = 1000
"""Parts of one image that are healed one after another."""


@dataclass
class Healer:
    """Heals one image at a time; `round` takes the most needed of those that wait. All but that is for other threads.

    What waits is bounded by the images that there are: each waits once.
    """

    volume: Volume
    proofs: Proofs
    siblings: Siblings
    tally: Tally
    ends: threading.Event
    _waiting: dict[str, tuple[Need, Subject, Look]] = field(default_factory=dict)
    _under_way: str = ""
    _by_hand: dict[Digest, str] = field(default_factory=dict)
    _done: dict[str, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> None:
        """Image after image until the process ends."""
        while not self.ends.wait(_REST):
            while not self.ends.is_set() and self.round():
                pass

    def round(self) -> bool:
        """Heal one image; whether there was one."""
        with self._lock:
            if not self._waiting:
                return False
            uid = min(self._waiting, key=lambda one: self._waiting[one][0])
            _, subject, found = self._waiting.pop(uid)
            self._under_way = uid
        why = "it was not tried to its end"
        try:
            why = self.heal(subject, found)
        except RegistryError as error:  # this volume's own registry: the writer may be away
            why = str(error)
        finally:
            with self._lock:
                self._under_way, self._done[uid] = "", why
        return True

    def wants(self, subject: Subject, found: Look, need: Need) -> None:
        """It is to be healed, unless that is under way already."""
        with self._lock:
            if subject.uid != self._under_way:
                self._waiting[subject.uid] = (need, subject, found)

    def needs(self, uid: str, need: Need) -> bool:
        """Whether an image waits or is under way; one that waits does so by this need from now on."""
        with self._lock:
            if uid in self._waiting:
                self._waiting[uid] = (need, *self._waiting[uid][1:])
                return True
            return uid == self._under_way

    def done(self) -> Mapping[str, str]:
        """Images (by uid) that were tried since the last call, and why one is not healed; empty where it is."""
        with self._lock:
            found, self._done = self._done, {}
            return found

    def keep(self, uids: Collection[str]) -> None:
        """Nothing else is to be healed any more."""
        with self._lock:
            for uid in self._waiting.keys() - set(uids):
                del self._waiting[uid]

    def look(self, subject: Subject) -> Look:
        """How it stands: what is there, and what is known of the bytes. Raises RegistryError."""
        found = look(self.volume.client, self.volume.host, subject, self.volume.folder)
        if found.state == WHOLE:
            self.proofs.wants(subject.uid, subject.at(self.volume.host), found.parts)
            if damage := self.proofs.damage(found.parts):
                found = Look(DAMAGED, damage[1], (damage[0],))
        if found.state == DAMAGED and found.parts and (hint := self._by_hand.get(found.parts[0].digest)):
            return replace(found, message=f"{found.message}; {hint}")
        return found

    def named(self, image: Object) -> Subject | None:
        """What is there under the name of an image of which it is not known; raises RegistryError."""
        return named(self.volume.client, self.volume.host, image)

    def heal(self, subject: Subject, found: Look) -> str:
        """Do what can be done about it without asking upstream; why it is not whole after that, empty where it is.

        Raises RegistryError where this volume's own registry fails.
        """
        for _ in range(_MOST_MENDED):
            why = self._mended(subject, found)
            if why:
                return why
            before, found = found, self.look(subject)
            if found.state == WHOLE:
                self.tally.healed += 1
                return ""
            if found == before:  # what was done was of no use
                break
        return found.message

    def _mended(self, subject: Subject, found: Look) -> str:
        """Put one thing right; why that could not be done, empty where it was."""
        if found.untagged:
            tag(subject, self.volume.client, self.volume.host)
            return ""
        if found.state == DAMAGED and found.parts:
            if self.volume.folder is None:
                return self._removed(subject, found.parts[0])
            return self._replaced(subject, found.parts[0], self.volume.folder)
        why = fill(subject, self.siblings, self.volume.client, self.volume.host)
        if not why:
            tag(subject, self.volume.client, self.volume.host)
        return why

    def _removed(self, subject: Subject, bad: Descriptor) -> str:
        """Remove a part's object from the bucket if it is wrong at this very moment: it is of use to nobody, and a copy
        brings another one only where there is none. Why that could not be done, empty where it was."""
        self._by_hand.pop(bad.digest, None)
        found = look(self.volume.client, self.volume.host, subject)
        if not (found.state == DAMAGED and bad in found.parts):
            with suppress(NotFound):
                if not wrong(bad, subject.at(self.volume.host), self.volume.client, None, Pace(QUICKEST)):
                    self.proofs.mended(bad.digest)
                    return ""
        why = "the keeper does not know its storage"
        try:
            if self.volume.bucket:
                self.volume.bucket.remove(bad.digest)
                self.proofs.mended(bad.digest)
                return ""
        except RegistryError as error:
            why = str(error)
        self._by_hand[bad.digest] = _by_hand(bad, why)
        return self._by_hand[bad.digest]

    def _replaced(self, subject: Subject, bad: Descriptor, folder: Path) -> str:
        """Replace the bytes of a part if they are wrong at this very moment: what was found may be mended by now."""
        self.proofs.mended(bad.digest)
        with suppress(NotFound):
            if wrong(bad, subject.at(self.volume.host), self.volume.client, folder, Pace(QUICKEST)):
                return mend(folder, bad, subject, self.siblings)
        return ""


def _by_hand(bad: Descriptor, why: str) -> str:
    """What a person has to do where the keeper cannot: distribution takes no other bytes for what is there."""
    return f"remove the object {file_of(Path(), bad.digest)} from the bucket, and it is copied anew ({why})"
