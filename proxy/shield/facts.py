"""What the shield can say of an image at once, from memory; what it does not know it learns meanwhile."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from queue import SimpleQueue
from typing import Any

from proxy.shield.access import Access, AccessFacts
from proxy.shield.freshness import TagState, Verdict
from proxy.shield.manifests import SpooledManifests
from proxy.shield.proofs import Proofs
from proxy.shield.pull_secrets import Secret
from registry.errors import NotFound, RegistryError
from registry.reference import Reference

TOLD = 120.0
"""Seconds for which an answer that is due to be asked again is told on, while upstream is asked."""
PUBLIC_FOR = 86_400.0
"""Seconds for which a repository that anybody could pull from is taken for public where a tag of it is missing, and not
taken for private where strangers are refused and no secret opens it."""
_LEARNERS = 4
_MOST_WAITING = 1_000
_MOST_PUBLIC = 10_000
_MOST_SECRETS = 1_000
"""Proofs that are told of one image: as many as a CachedImage's status holds."""


class ImageFacts:
    """Facts by image; threads share it. Asking costs no request; `clock` is monotonic, in seconds."""

    def __init__(
        self,
        access: AccessFacts,
        manifests: SpooledManifests,
        clock: Callable[[], float] = time.monotonic,
        *,
        proofs: Proofs | None = None,
        closed: SpooledManifests | None = None,
    ) -> None:
        self._proofs = proofs
        self._closed = closed
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
        proven = self._opened(reference) if access is not Access.PUBLIC else []
        manifests = self._closed if proven and self._closed else self._manifests
        state = None if reference.digest else manifests.peek(reference)
        if now >= asked_from or (state and state.verdict(now) is Verdict.ASK) or self._unproven(reference, access):
            self._learn(reference)
        if access is Access.PUBLIC:
            self._proven(reference.name, asked_from)
        # A registry that refuses everybody for a while does not make private what was public a moment ago.
        clear = access is Access.PUBLIC or (access is Access.PRIVATE and not self._is_public(reference.name, now))
        fresh = clear and now < asked_from + TOLD
        said = _said(access, proven) if fresh or proven else None
        return {
            "access": said,
            "upstream": self._upstream(reference, state, now, opened=bool(proven)) if state else None,
        }

    def _opened(self, reference: Reference) -> Sequence[Secret] | None:
        """The secrets proven to open the image's repository; None where that is not known of all in use."""
        return self._proofs.proven(reference.name) if self._proofs else []

    def _unproven(self, reference: Reference, access: Access) -> bool:
        return access is not Access.PUBLIC and self._proofs is not None and self._proofs.due(reference.name)

    def _upstream(self, reference: Reference, state: TagState, now: float, *, opened: bool) -> Mapping[str, Any] | None:
        if now >= state.until + TOLD:
            return None
        if state.descriptor:
            return {"digest": str(state.descriptor.digest)}
        if isinstance(state.refusal, NotFound) and (opened or self._is_public(reference.name, now)):
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
            access = self._access.of(reference)
            if access is Access.PUBLIC:
                self._proven(reference.name, self._clock())
            elif self._proofs:
                self._proofs.learn(reference)
            opened = access is not Access.PUBLIC and self._opened(reference)
            manifests = self._closed if opened and self._closed else self._manifests
            if reference.digest is None:
                manifests.descriptor(reference, with_manifest=False)
        except RegistryError:
            return  # what was refused is remembered where it was asked; all else stays unknown
        finally:
            with self._lock:
                self._waiting.discard(reference)


def _said(access: Access, proven: Sequence[Secret] | None) -> Mapping[str, Any] | None:
    """The answer in the endpoint's form; None where secrets that are in use were not judged yet."""
    if access is Access.PUBLIC:
        return {"visibility": "public", "secrets": []}
    if proven is None:
        return None
    secrets = [{"namespace": namespace, "secret": name} for namespace, name in proven[:_MOST_SECRETS]]
    return {"visibility": "private", "secrets": secrets}
