"""Manifests through the spool: tags with the freshness that upstream is spared by, digests kept as they are."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from proxy.shield.freshness import DEFAULT_FRESHNESS, UNHEARD, TagState, Verdict, failed, from_before, heard
from proxy.shield.lately import ABSENCE, Lately
from proxy.shield.processes import Processes
from proxy.shield.remembered import MOST_TAGS, Remembered
from proxy.shield.shares import Everybodys, Shares
from proxy.shield.spool import Spool, read_all
from registry.client import Client
from registry.errors import Corrupt, NotFound, RegistryError, Unauthorized, Unsupported
from registry.manifest import MAX_MANIFEST, Descriptor, Manifest, parse_manifest
from registry.reference import Reference
from registry.singleflight import SingleFlight


class SpooledManifests:
    """Manifests of all registries; threads share it. `freshness` and `clock` (monotonic) are in seconds.

    `shares` says which of what is kept may be given to whom. `remembered` is what is known of tags from before.
    """

    def __init__(
        self,
        client: Client,
        spool: Spool,
        freshness: Callable[[], float] = lambda: DEFAULT_FRESHNESS,
        clock: Callable[[], float] = time.monotonic,
        shares: Shares = Everybodys(),  # noqa: B008 - it has no state
        remembered: Remembered | None = None,
    ) -> None:
        self._shares = shares
        self._client = client
        self._spool = spool
        self._turns = Processes(spool.folder.with_name(f"{spool.folder.name}.turns"))
        self._freshness = freshness
        self._clock = clock
        self._remembered = remembered
        before = remembered.tags() if remembered else {}
        self._tags = OrderedDict((reference, from_before(found)) for reference, found in before.items())
        self._stale = 0
        self._lock = threading.Lock()
        self._asking: SingleFlight[Reference, TagState] = SingleFlight()
        self._getting: SingleFlight[Reference, Manifest] = SingleFlight()
        self._absent: Lately[Reference] = Lately(ABSENCE, clock)

    def descriptor(self, reference: Reference, *, with_manifest: bool) -> Descriptor:
        """Where a tag points, not older than the freshness while upstream answers; raises RegistryError.

        `with_manifest` says that the manifest is wanted next, so that one request may do for both.
        """
        state = self.peek(reference)
        if state.verdict(self._clock()) is Verdict.ASK:
            state = self._asking.do(reference, lambda: self._ask(reference, with_manifest=with_manifest))
        if state.descriptor:
            with self._lock:
                self._stale += state.stale
            return state.descriptor
        raise (state.refusal or Corrupt(f"{reference} is not known")).with_traceback(None)

    def manifest(self, reference: Reference) -> tuple[Manifest, bool]:
        """The manifest of a reference with a digest, and whether it was kept here; raises RegistryError."""
        kept = self._kept(reference)
        if kept:
            return kept, True
        self._absent.check(reference)
        return self._getting.do(reference, lambda: self._get_once(reference)), False

    @property
    def stale(self) -> int:
        """How often a tag was told that upstream could not be asked about."""
        return self._stale

    @property
    def joined(self) -> int:
        """How many questions waited for another's answer."""
        return self._asking.joined + self._getting.joined

    def fresh_for(self, reference: Reference) -> int:
        """Whole seconds for which what was told of a tag would be told again without a question to upstream."""
        state = self.peek(reference)
        return 0 if state.stale else max(int(state.until - self._clock()), 0)

    def peek(self, reference: Reference) -> TagState:
        """The last that was heard of a tag; upstream is not asked."""
        with self._lock:
            return self._tags.get(reference, UNHEARD)

    def _remember(self, reference: Reference, state: TagState) -> TagState:
        with self._lock:
            self._tags[reference] = state
            self._tags.move_to_end(reference)
            if len(self._tags) > MOST_TAGS:
                self._tags.popitem(last=False)
        if self._remembered and (state.refusal or (state.descriptor and not state.stale)):
            self._remembered.note(reference, state.descriptor)
        return state

    def _ask(self, reference: Reference, *, with_manifest: bool) -> TagState:
        before = self.peek(reference)
        if before.verdict(self._clock()) is not Verdict.ASK:  # somebody asked in between
            return before
        try:
            found = self._found(reference, with_manifest=with_manifest and before.descriptor is None)
        except RegistryError as error:
            state = self._remember(reference, failed(before, error, self._clock()))
            if state is UNHEARD:
                raise
            return state
        return self._remember(reference, heard(found, self._clock(), self._freshness()))

    def _found(self, reference: Reference, *, with_manifest: bool) -> Descriptor:
        """Where a tag points, and with it the manifest, unless another process over the same spool has just got it."""
        with self._turns.turn(str(reference)) as waited:
            if with_manifest and not waited:
                return self._get(reference).descriptor
            found = self._client.head(reference)
        self._shares.told(reference.with_digest(found.digest))
        return found

    def _get_once(self, reference: Reference) -> Manifest:
        """The manifest of a digest, which another process over the same spool may be getting now, or have got."""
        with self._turns.turn(str(reference.digest)):
            if reference.digest:
                self._spool.settled(reference.digest)
            return self._kept(reference) or self._get(reference)

    def _get(self, reference: Reference) -> Manifest:
        try:
            manifest = self._client.manifest(reference)
        except (NotFound, Unauthorized) as error:
            if reference.digest:  # of a tag it is remembered with the rest of what is known of the tag
                self._absent.note(reference, error)
            raise
        if self._shares.take(reference.with_digest(manifest.digest)):
            self._spool.put(manifest.digest, manifest.raw)
        return manifest

    def _kept(self, reference: Reference) -> Manifest | None:
        digest = reference.digest
        file = self._spool.open(digest) if digest and self._shares.has(reference) else None
        if file is None or digest is None:
            return None
        try:
            return parse_manifest(read_all(file, MAX_MANIFEST), expected=digest)
        except (Corrupt, Unsupported):  # a blob that somebody asks for as a manifest
            return None
