"""What a question about a manifest means: a digest, or a tag, which policy may pin."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from proxy.shield.blobs import HIT, MISS
from proxy.shield.manifests import SpooledManifests
from proxy.sources.message import Answer, Request, manifest_answer
from registry.digest import Digest
from registry.errors import NotFound
from registry.reference import Reference

Pinned = Callable[[Reference], Digest | None]
"""The digest that a tag has by policy, whatever upstream says."""


def nothing_pinned(_reference: Reference) -> Digest | None:
    """Tags are where upstream says."""
    return None


@dataclass(frozen=True)
class Manifests:
    """Answers about manifests; threads share it."""

    spooled: SpooledManifests
    pinned: Pinned = nothing_pinned

    def answer(self, request: Request) -> Answer:
        """The answer to a GET or HEAD of a manifest; raises RegistryError."""
        reference = request.route.reference
        pinned = None if reference.digest else self.pinned(reference)
        if pinned:
            with suppress(NotFound):  # what is pinned may be gone; then the tag as it is now is better than none
                return self._by_digest(request, reference.with_digest(pinned))
        if reference.digest is None:
            return self._by_tag(request, reference)
        return self._by_digest(request, reference)

    def _by_tag(self, request: Request, reference: Reference) -> Answer:
        """With the time for which a proxy need not ask again (RFC 9111, max-age): the tag grows no older by it."""
        known = self.spooled.peek(reference).descriptor is not None
        told = known and self.spooled.fresh_for(reference) > 0
        descriptor = self.spooled.descriptor(reference, with_manifest=not request.is_head)
        if request.is_head:
            answer = replace(manifest_answer(request, descriptor, None), cache=HIT if told else MISS)
        else:
            answer = self._by_digest(request, reference.with_digest(descriptor.digest))
            answer = answer if known else replace(answer, cache=MISS)  # the manifest came with the answer just now
        seconds = self.spooled.fresh_for(reference)
        return replace(answer, headers={"Cache-Control": f"max-age={seconds}"}) if seconds else answer

    def _by_digest(self, request: Request, reference: Reference) -> Answer:
        manifest, kept = self.spooled.manifest(reference)
        answer = manifest_answer(request, manifest.descriptor, manifest.raw)
        return replace(answer, cache=HIT if kept else MISS)
