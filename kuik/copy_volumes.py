"""One image to every volume of the registry: each byte leaves the source once, and a volume that fails is named.

The first volume is filled from the source and each of the others from one that has the image by then. A writer that is
away, as while garbage is collected, is waited for, and so is a shield that restarts (`kuik.copy_waits`).
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial

from kuik.copy_waits import FIRST_PAUSE, LONGEST_PAUSE, Life, Waits, while_away
from registry.attaching import copy_attached
from registry.contents import contents
from registry.copy import Copied, CopyOptions, Progress, Source, copy
from registry.digest import Digest
from registry.errors import NotFound, RegistryError, Unreachable
from registry.manifest import Manifest, Platform
from registry.pipes import P, Passed
from registry.reference import Reference
from registry.referrers import Refers
from registry.targets import RegistryTarget


@dataclass(frozen=True, slots=True)
class Everywhere:
    """An image that is on at least one volume; `failures` say why it is not on others, by their `host:port`."""

    copied: Copied
    failures: dict[str, RegistryError]


def copy_to_volumes(  # noqa: PLR0913 - a copy has this many parts; all but five are optional
    reference: Reference,
    source: Source,
    volumes: Sequence[RegistryTarget],
    options: CopyOptions,
    progress: Progress,
    waits: Waits = Waits(),  # noqa: B008 - a frozen value
    *,
    referrers: bool = False,
) -> Everywhere:
    """Bring the image to every volume; raises the first error where it is on none, or where the source fails.

    With `referrers`, signatures and whatever else refers to it is kept beside it.
    """
    life = Life(waits.clock)
    run = _Run(reference, source, options, progress, life, referrers=referrers)
    for volume in volumes:
        while_away(partial(run.fill, volume), waits, life)
    pause, since = FIRST_PAUSE, waits.clock()
    while late := [volume for volume in volumes if isinstance(run.failures.get(volume.host), Unreachable)]:
        left = (waits.some if run.whole else waits.none) - (waits.clock() - since)
        if left <= 0 or waits.pause(min(pause, left)):
            break
        pause = min(2 * pause, LONGEST_PAUSE)
        for volume in late:
            run.fill(volume)
    if run.copied is None:
        raise next(iter(run.failures.values()))
    return Everywhere(run.copied, run.failures)


def holding(
    reference: Reference, volumes: Iterable[RegistryTarget], platforms: frozenset[Platform]
) -> RegistryTarget | None:
    """The first volume that has the image whole for `platforms`, under the very name; None where none is known to."""
    for volume in volumes:
        with suppress(RegistryError):
            root = volume.stored.manifest(reference)
            parts = contents(root, platforms, partial(volume.manifest, reference))
            if not parts.absent and volume.holds(reference, parts):
                return volume
    return None


class _Run:
    """What is known while the volumes are filled."""

    def __init__(
        self,
        reference: Reference,
        source: Source,
        options: CopyOptions,
        progress: Progress,
        life: Life,
        *,
        referrers: bool,
    ) -> None:
        self._life = life
        self._referrers = referrers
        self.whole: list[RegistryTarget] = []
        self.failures: dict[str, RegistryError] = {}
        self.copied: Copied | None = None
        self._reference = reference
        self._source = source
        self._options = options
        self._progress = progress

    def fill(self, volume: RegistryTarget) -> None:
        """Copy to one volume; raises what the source says where no volume has the image."""
        for place in (*(one.stored for one in self.whole if one is not volume), self._source):
            reader = _Watched(place, self._life)
            try:
                copied = copy(self._reference, reader, volume, self._options, self._progress)
                if self._referrers:
                    notes = copy_attached(self._reference, copied.digest, reader, volume)
                    copied = replace(copied, notes=(*copied.notes, *notes))
            except RegistryError as error:
                if reader.raised(error) and place is not self._source:
                    continue  # it went away: the others have the image too
                if reader.raised(error) and self.copied is None:
                    raise
                self.failures[volume.host] = error
            else:
                self.failures.pop(volume.host, None)
                self.whole.append(volume)
                self.copied = self.copied or copied
            return


class _Watched:
    """A source that remembers what failed at it, as other errors of a copy are the target's, and when it was heard."""

    def __init__(self, source: Source, life: Life) -> None:
        self._life = life
        self._failures: list[RegistryError] = []
        self._source = source

    def raised(self, error: RegistryError) -> bool:
        """Whether it was this source that failed so."""
        return any(error is one for one in self._failures)

    def manifest(self, reference: Reference) -> Manifest:
        with self._watch():
            found = self._source.manifest(reference)
            self._life.heard()
            return found

    def referrers(self, reference: Reference) -> bytes:
        with self._watch():
            if isinstance(self._source, Refers):
                return self._source.referrers(reference)
            raise NotFound("the source cannot be asked for referrers")

    @contextmanager
    def open_blob(self, reference: Reference, digest: Digest, start: int = 0) -> Iterator[Iterable[bytes]]:
        with self._watch():
            opened: AbstractContextManager[Iterable[bytes]] = self._source.open_blob(reference, digest, start)
        with opened as pieces:
            yield Passed(pieces, self._pieces)

    def _pieces(self, pieces: Iterable[P]) -> Iterator[P]:
        with self._watch():
            iterator = iter(pieces)
        while True:
            with self._watch():
                piece = next(iterator, None)
            if piece is None:
                return
            self._life.heard()
            yield piece

    @contextmanager
    def _watch(self) -> Iterator[None]:
        try:
            yield
        except RegistryError as error:
            self._failures.append(error)
            raise
