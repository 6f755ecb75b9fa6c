"""Local mode's proof of its bytes: the store's blobs are hashed again, and images that lost one are copied anew."""

import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from hooks.volumes import MISSING, PREFIX
from kube.types import Object, annotations, metadata, part
from kuik.keeper.report import image_report
from registry.blobs import BlobFolder
from registry.digest import Digest
from registry.errors import RegistryError
from registry.proof import Damage, prove, put_aside

EVERY = 7 * 86400.0
"""Seconds within which each blob is hashed again; all are once after each start."""
RATE = 50 << 20
"""Bytes a second that are read for it at most."""
VOLUME = "local"
"""What the store is called as a volume, in annotations and status."""
_REST = 5.0


class Proving:
    """Hashes the blobs of a store in a thread of its own; `wake` is called, from there, when something is damaged."""

    def __init__(self, blobs: BlobFolder, wake: Callable[[], None], *, rest: float = _REST) -> None:
        self._blobs = blobs
        self._wake = wake
        self._rest = rest
        self._proven: dict[Digest, float] = {}
        self._found: queue.SimpleQueue[Damage] = queue.SimpleQueue()

    def start(self) -> None:
        """Go on until the process ends."""
        threading.Thread(target=self._run, daemon=True, name="proving").start()

    def found(self) -> list[Damage]:
        """What was found damaged, and put aside, since the last call."""
        damaged = []
        while not self._found.empty():
            damaged.append(self._found.get())
        return damaged

    def round(self) -> None:
        """Hash what is due, longest unproven first."""
        there = set(self._blobs.digests())
        self._proven = {digest: at for digest, at in self._proven.items() if digest in there}
        due = [digest for digest in there if time.monotonic() - self._proven.get(digest, -EVERY) >= EVERY]
        for digest in sorted(due, key=lambda one: (self._proven.get(one, -EVERY), one)):
            damage = prove(self._blobs, digest, lambda count: time.sleep(count / RATE))
            if damage and put_aside(self._blobs, damage):
                self._found.put(damage)
                self._wake()
            self._proven[digest] = time.monotonic()

    def _run(self) -> None:
        while True:
            with suppress(OSError, RegistryError):  # a store that is out of reach or takes no writes: the engine tells
                self.round()
            time.sleep(self._rest)


def lacking(image: Object, why: str, now: datetime) -> Object:
    """The CachedImage with this volume's word that it is not all there, which stage 3 answers with a copy."""
    said = image_report(str(part(image, "status").get("digest")), MISSING, now, message=why)
    told = {**annotations(image), f"{PREFIX}{VOLUME}": said}
    return {**image, "metadata": {**metadata(image), "annotations": told}}
