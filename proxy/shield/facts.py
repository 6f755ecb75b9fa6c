"""What the shield can say of an image at once, from memory; what it does not know it learns meanwhile."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from queue import SimpleQueue
from typing import Any

from proxy.shield.access import Access, AccessFacts
from proxy.shield.freshness import TagState, Verdict
from proxy.shield.manifests import SpooledManifests
from registry.errors import NotFound, RegistryError
from registry.reference import Reference

TOLD = 120.0
"""Seconds for which an answer that is due to be asked again is told on, while upstream is asked."""
PUBLIC_FOR = 86_400.0
"""Seconds for which a repository that anybody could pull from is taken for public where a tag of it is missing."""
_LEARNERS = 4
_MOST_WAITING = 1_000
_MOST_PUBLIC = 10_000


class ImageFacts:
    """Facts by image; threads share it. Asking costs no request; `clock` is monotonic, in seconds."""

    def __init__(
        self, access: AccessFacts, manifests: SpooledManifests, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._access = access
        self._manifests = manifests
        self._clock = clock
        self._queue: SimpleQueue[Reference] = SimpleQueue()
        self._learners = 0
        self._waiting: set[Reference] = set()
        self._public: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, reference: Reference) -> Mapping[str, Any]:
        """`access` and `upstream` in the form of the facts endpoint, each null where it is not known."""
        reference = reference.identity
        now = self._clock()
        access, asked_from = self._access.peek(reference)
        state = None if reference.digest else self._manifests.peek(reference)
        if now >= asked_from or (state and state.verdict(now) is Verdict.ASK):
            self._learn(reference)
        if access is Access.PUBLIC:
            self._proven(reference.name, asked_from)
        told = access is not Access.UNKNOWN and now < asked_from + TOLD
        return {
            "access": {"visibility": str(access), "secrets": []} if told else None,
            "upstream": self._upstream(reference, state, now) if state else None,
        }

    def _upstream(self, reference: Reference, state: TagState, now: float) -> Mapping[str, Any] | None:
        if now >= state.until + TOLD:
            return None
        if state.descriptor:
            return {"digest": str(state.descriptor.digest)}
        if isinstance(state.refusal, NotFound) and self._is_public(reference.name, now):
            return {"gone": True}
        return None  # many registries say 404 for what is private

    def _proven(self, repository: str, moment: float) -> None:
        with self._lock:
            self._public[repository] = moment
            self._public.move_to_end(repository)
            if len(self._public) > _MOST_PUBLIC:
                self._public.popitem(last=False)

    def _is_public(self, repository: str, now: float) -> bool:
        with self._lock:
            return now < self._public.get(repository, float("-inf")) + PUBLIC_FOR

    def _learn(self, reference: Reference) -> None:
        with self._lock:
            if reference in self._waiting or len(self._waiting) >= _MOST_WAITING:
                return
            self._waiting.add(reference)
            self._queue.put(reference)
            if self._learners == _LEARNERS:
                return
            self._learners += 1
        # Daemons, which an executor's threads are not: a silent upstream must not hold back the process's end.
        threading.Thread(target=self._work, daemon=True, name="facts").start()

    def _work(self) -> None:
        while True:
            self._ask(self._queue.get())

    def _ask(self, reference: Reference) -> None:
        try:
            if self._access.of(reference) is Access.PUBLIC:
                self._proven(reference.name, self._clock())
            if reference.digest is None:
                self._manifests.descriptor(reference, with_manifest=False)
        except RegistryError:
            return  # what was refused is remembered where it was asked; all else stays unknown
        finally:
            with self._lock:
                self._waiting.discard(reference)
