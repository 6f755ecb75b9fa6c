"""The shield's other half: repositories that pull secrets open, with a spool that the public never reads from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from proxy.path import Kind
from proxy.shield.blobs import SpooledBlobs
from proxy.shield.naming import Manifests
from proxy.shield.shares import Shares
from proxy.sources.message import Answer, Request
from proxy.sources.upstream import Upstream
from registry.digest import Digest
from registry.errors import NotFound, RegistryError, Unauthorized, Unreachable
from registry.reference import Reference

Secret = tuple[str, str]
"""Namespace and name."""


class Secrets(Protocol):
    """What is said of pull secrets where an image cannot be had; see PullSecrets."""

    @property
    def synced(self) -> bool: ...

    def of(self, repository: str) -> Sequence[Secret]: ...

    def problems(self, reference: Reference) -> list[str]: ...


@dataclass(frozen=True)
class Private:
    """Answers about private repositories, to callers who are trusted to have checked the capability.

    `blobs`, `manifests` and `upstream` ask with the secrets of a repository's users. `public` are the blobs that
    anybody may have; they are given to these callers too. Threads share it.
    """

    blobs: SpooledBlobs
    manifests: Manifests
    upstream: Upstream
    public: SpooledBlobs
    shares: Shares
    secrets: Secrets

    def fetch(self, request: Request) -> Answer:
        """The answer; raises RegistryError, which names the pull secrets where they are the matter."""
        if not self.secrets.synced:
            raise Unreachable(f"{request.route}: the shield does not know yet which pull secrets are in use")
        try:
            return self._fetch(request)
        except (Unauthorized, NotFound) as error:
            raise explained(error, request.route.reference, self.secrets) from error

    def _fetch(self, request: Request) -> Answer:
        digest = request.route.digest
        if request.kind is Kind.BLOB and digest:
            return self._blob(request, digest)
        if request.kind is Kind.MANIFEST:
            return self.manifests.answer(request)
        return self.upstream.fetch(request)

    def _blob(self, request: Request, digest: Digest) -> Answer:
        found = self.public.kept(request, digest)
        if found:
            return found
        reference = request.route.reference
        if not self.shares.has(reference):
            said = self.blobs.head(request, digest)
            if request.is_head:
                return said
            if not self.shares.take(reference):
                return self.blobs.through(request, digest)
        return self.blobs.fetch(request, digest)


def explained(error: RegistryError, reference: Reference, secrets: Secrets) -> RegistryError:
    """The error, with what is wrong with the pull secrets.

    Where none of them could even be tried, that is the reason: a registry that hides what is private says 404 then.
    """
    named, problems = secrets.of(reference.name), secrets.problems(reference)
    if not named:
        return type(error)(f"{error}; no workload names a pull secret for it")
    if not problems:
        return error
    kind = Unauthorized if len(problems) == len(named) else type(error)
    return kind(f"{error}; {'; '.join(problems[:5])}")
