"""Whether each image is on this volume, byte for byte: looked at, hashed, said, and healed from the other volumes."""

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial

from hooks.progress import RUNNING
from hooks.removal import leaves
from hooks.volumes import DAMAGED, HEALING, MISSING, WHOLE, Replica, reports
from kube.client import KubernetesError
from kube.types import Object, format_time, metadata, part
from kuik.keeper.beside import Beside
from kuik.keeper.cluster import Cluster
from kuik.keeper.healer import Healer, Need
from kuik.keeper.news import is_answered, is_news, was_removed
from kuik.keeper.proofs import Proofs
from kuik.keeper.report import image_report, key_of
from kuik.keeper.tally import Tally
from kuik.keeper.terms import Terms
from kuik.keeper.whole import Look, Subject, uncopied
from registry.digest import Digest
from registry.errors import RegistryError, Unreachable

_log = logging.getLogger("kuik.keeper")

LOOK_EVERY = 600.0
"""Seconds between two looks at an image that was whole; others are looked at more often."""
AGAIN = 30.0
_REST = 1.0


@dataclass
class Truth:
    """Looks after the images of a volume, in one thread; `proofs` hashes their bytes in another, `healer` heals in a
    third.

    `round` does what is due, `run` does so until it ends.
    `now` is the clock that moments are told by, `monotonic` the one that waits are measured by.
    """

    name: str
    cluster: Cluster
    proofs: Proofs
    healer: Healer
    tally: Tally
    ends: threading.Event
    monotonic: Callable[[], float]
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    look_every: float = LOOK_EVERY
    _next: dict[str, tuple[float, str]] = field(default_factory=dict)
    _odd: dict[str, str] = field(default_factory=dict)
    _said: dict[str, Replica] = field(default_factory=dict)
    _failed: dict[str, str] = field(default_factory=dict)
    _behind: dict[str, Look] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.beside = Beside(self.healer.volume, self.healer.siblings)

    def start(self) -> None:
        """Begin, in threads of their own."""
        threading.Thread(target=self.run, daemon=True, name="truth").start()
        threading.Thread(target=self.proofs.run, daemon=True, name="proofs").start()
        threading.Thread(target=self.healer.run, daemon=True, name="healer").start()

    def run(self) -> None:
        """Round after round until the process ends."""
        while not self.ends.wait(_REST):
            if self.cluster.synced:
                self.round()

    def round(self) -> None:
        """Look at every image whose turn it is, those that pods need first."""
        images = sorted(self.cluster.images(), key=_need)
        done = self.healer.done()
        self._failed |= {uid: why for uid, why in done.items() if why}
        for uid in (*self.proofs.stirred(), *done):
            self._next.pop(uid, None)
        verify_every = Terms.read(self.cluster.cache()).verify_every
        for image in images:
            if self.ends.is_set():
                return
            if not self._visit(image, verify_every):
                break
        self._remember(images)

    def _visit(self, image: Object, verify_every: float) -> bool:
        """Look at an image, and at its earlier digests, as far as they are due; False where the writer is away."""
        if uncopied(image):
            return self._looked(image, str(metadata(image).get("uid")), "", lambda: self._seek(image, verify_every))
        for subject in self._subjects(image):
            if self.healer.needs(subject.uid, _need(image, subject)):
                continue
            if not self._looked(
                image, subject.uid, str(subject.digest), partial(self._see, image, subject, verify_every)
            ):
                return False
        return True

    def _looked(self, image: Object, uid: str, digest: str, look: Callable[[], None]) -> bool:
        """Look where it is time; False where the writer is away."""
        at, before = self._next.get(uid, (0.0, digest))
        if digest == before and self.monotonic() < at:
            return True
        try:
            look()
        except (RegistryError, KubernetesError) as error:
            self._next[uid] = (self.monotonic() + AGAIN, digest)
            _log.info("%s is looked at again later: %s", metadata(image).get("name"), error)
            return not isinstance(error, Unreachable)  # for all of them
        return True

    def _seek(self, image: Object, verify_every: float) -> None:
        """Say what is there, whole, of an image that was not copied for its CachedImage; nothing where it is not: a
        copy is to bring it."""
        if leaves(image) or part(image, "status").get("copy") == RUNNING:
            return
        self._next[str(metadata(image).get("uid"))] = (self.monotonic() + self.look_every, "")
        subject = self.healer.named(image)
        found = self.healer.look(subject) if subject else None
        if subject and found and found.state == WHOLE:
            self._say(image, subject, found, verify_every)

    def _subjects(self, image: Object) -> tuple[Subject, ...]:
        """What is to be on this volume; nothing where that is not known, or somebody wants it away."""
        subject = Subject.read(image)
        if subject is None or leaves(image):
            return ()
        if was_removed(reports(image).get(self.name), subject):
            return (subject,)  # a copy may bring it back
        return (subject, *self._with(image, subject))

    def _with(self, image: Object, subject: Subject) -> tuple[Subject, ...]:
        """What is kept with an image, and told of in its report: earlier digests, and what is attached to it."""
        return (*subject.earlier(image, self.now()), *self.beside.of(subject))

    def _later(self, subject: Subject, seconds: float) -> None:
        self._next[subject.uid] = (self.monotonic() + seconds, str(subject.digest))

    def _see(self, image: Object, subject: Subject, verify_every: float) -> None:
        failed = self._failed.pop(subject.uid, "")
        found = self.healer.look(subject)
        if found.state != WHOLE and not subject.current and was_removed(reports(image).get(self.name), subject):
            self._later(subject, self.look_every)
            return
        if found.otherwise and not self._seen_before(subject, found):
            self._later(subject, AGAIN)  # a copy moves a tag before the status says so
            return
        if found.state != WHOLE and not failed:
            self._tell(subject, found)
            if self.healer.siblings.hosts and not found.untagged:
                self._let_heal(image, subject, found, verify_every)
                return
            failed = self._healed_at_once(subject, found)
            found = self._after(subject, found)
        if failed:
            _log.warning("%s on %s is not healed: %s", subject.name, self.name, failed)
        if found.state == WHOLE and not subject.current:
            self.beside.see(subject, found.parts)
        self._later(subject, self.look_every if found.state == WHOLE else AGAIN)
        self._tell_state(image, subject, found, verify_every)

    def _healed_at_once(self, subject: Subject, found: Look) -> str:
        """Why it is not healed, empty where it is. At once, as a copy that is asked for must find no wrong bytes."""
        try:
            return self.healer.heal(subject, found)
        except Unreachable:
            raise
        except RegistryError as error:  # a volume that takes nothing: what was found is said all the same
            return str(error)

    def _after(self, subject: Subject, before: Look) -> Look:
        """How it stands after it was healed at once; what was found damaged is told as that though it is gone now."""
        found = self.healer.look(subject)
        return before if before.state == DAMAGED and found.state == MISSING else found

    def _let_heal(self, image: Object, subject: Subject, found: Look, verify_every: float) -> None:
        """Have it healed from the other volumes, by and by; what they could not give before is told as before."""
        before = self._said.get(subject.uid)
        if not (before and before.state == found.state and before.message == found.message[:512]):
            self._tell_state(image, subject, Look(HEALING, found.message), verify_every)
        self.healer.wants(subject, found, _need(image, subject))

    def _tell_state(self, image: Object, subject: Subject, found: Look, verify_every: float) -> None:
        """Say how it stands; what is kept with an image has no report of its own: the image's tells of it."""
        if not subject.current:
            self._say(image, subject, self._joined(image, subject, found), verify_every)
            return
        before = self._behind.pop(subject.uid, None)
        if found.state != WHOLE:
            what = f"{subject.image.tag}, attached to it" if subject.beside else f"the earlier digest {subject.digest}"
            self._behind[subject.uid] = Look(found.state, f"{what}: {found.message}")
        if before != self._behind.get(subject.uid):
            self._next.pop(subject.current, None)

    def _joined(self, image: Object, subject: Subject, found: Look) -> Look:
        """With what is wrong with that which is kept with it; `beside` says that a copy is to bring some of that."""
        behind = [(one, self._behind[one.uid]) for one in self._with(image, subject) if one.uid in self._behind]
        lost = [f"{tag}, attached to it: nobody knows what it named" for tag in self.beside.unreadable(subject)]
        words = (found.message, *(look.message for _, look in behind), *lost)
        wanted = bool(lost) or any(one.beside and look.state != HEALING for one, look in behind)
        return replace(found, message="; ".join(filter(None, words)), beside=wanted)

    def _seen_before(self, subject: Subject, found: Look) -> bool:
        seen, self._odd[subject.uid] = self._odd.get(subject.uid), found.message
        return seen == found.message

    def _tell(self, subject: Subject, found: Look) -> None:
        """Let people know that it is not whole."""
        _log.warning("%s on %s: %s", subject.name, self.name, found.message)
        self.tally.found(damaged=found.state == DAMAGED)
        once = f"{self.name}-{Digest.of(found.message.encode()).hex[:10]}-{self.now():%Y%m%d}"  # once a day
        said = f"{self.name}: {found.message}"
        self.cluster.say(f"Found{found.state}", said, once=once, image=subject.name, warning=True)

    def _say(self, image: Object, subject: Subject, found: Look, verify_every: float) -> None:
        """Say how it stands, where that is news: another state, or a proof that is much younger."""
        before = self._said.get(subject.uid) or reports(image).get(self.name)
        since = self.proofs.oldest(found.parts) if found.state == WHOLE else None
        answered = found.state != WHOLE and is_answered(image, self.name)
        if not answered and not is_news(before, subject, found, since, verify_every):
            return
        self._write(subject, found, format_time(since) if since else "")

    def _write(self, subject: Subject, found: Look, verified: str = "") -> None:
        text = image_report(
            str(subject.digest),
            found.state,
            self.now(),
            message=found.message,
            verified=verified,
            beside=found.beside,
        )
        self.cluster.annotate_image(subject.name, {key_of(self.name): text})
        self._said[subject.uid] = Replica(
            self.name, found.state, str(subject.digest), verified=verified, message=found.message[:512]
        )

    def _remember(self, images: Iterable[Object]) -> None:
        """Forget images that are gone."""
        wanted = {subject.uid: image for image in images for subject in self._subjects(image)}
        here = {*wanted, *(str(metadata(image).get("uid")) for image in images)}
        for kept in (self._next, self._odd, self._said, self._failed, self._behind):
            for uid in kept.keys() - here:
                kept.pop(uid, None)
        self.proofs.drop(self.proofs.images - here)
        self.beside.keep(here)
        self.healer.keep([uid for uid, image in wanted.items() if not self._is_removed(image)])

    def _is_removed(self, image: Object) -> bool:
        subject = Subject.read(image)
        return subject is not None and was_removed(reports(image).get(self.name), subject)


def _need(image: Object, subject: Subject | None = None) -> Need:
    """Images that pods wait for come first, then those in use; what waits, waits for no earlier digest."""
    spec = part(image, "spec")
    earlier = subject is not None and bool(subject.current)
    return (earlier or spec.get("waiting") is not True, not spec.get("users"), str(metadata(image).get("name")))
