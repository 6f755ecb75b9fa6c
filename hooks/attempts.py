"""What an observed copy Job tells: which attempt it is, what it was given, and how it ended."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from hooks.conditions import condition, holds, sentence
from kube.duration import left_of
from kube.types import Object, annotations, metadata, parse_time, part
from registry.digest import Digest, InvalidDigest

RESULT = "kuik.dev/result"
ATTEMPT = "kuik.dev/attempt"
INPUTS = "kuik.dev/inputs"
VISIBILITIES = ("Public", "Private")
REASONS = frozenset(
    {
        "Unauthorized",
        "NotFound",
        "RateLimited",
        "Unreachable",
        "TLS",
        "NoPlatform",
        "StoreFull",
        "Corrupt",
        "Unsupported",
        "Failed",
    }
)
PATIENCE = 300.0
"""Seconds within which a copy Job's pod is expected to start."""

_MAX_RESULT = 16 * 1024
_MAX_PLATFORMS = 100
_MAX_PLATFORM = 64
_MAX_SECRETS = 20  # what a Job notes is read no further than _MAX_RESULT either
_MAX_SIZE = 2**63 - 1
_MAX_VOLUMES = 32


@dataclass(frozen=True, slots=True)
class Inputs:
    """What decides the outcome of an attempt besides upstream itself."""

    platforms: tuple[str, ...]
    secrets: tuple[tuple[str, str], ...]
    referrers: bool = False

    @classmethod
    def of(cls, platforms: Iterable[str], secrets: Sequence[tuple[str, str]], *, referrers: bool = False) -> Self:
        """What a Job notes: of very many secrets the first, and a hash that tells whether others are the same."""
        noted = tuple(secrets)
        if len(noted) > _MAX_SECRETS:
            digits = hashlib.sha256(json.dumps(noted).encode()).hexdigest()
            noted = (*noted[:_MAX_SECRETS], ("", digits))
        return cls(tuple(sorted(set(platforms))), noted, referrers)

    def text(self) -> str:
        document: dict[str, Any] = {"platforms": self.platforms, "pullSecrets": self.secrets}
        return json.dumps({**document, **({"referrers": True} if self.referrers else {})}, sort_keys=True)

    @classmethod
    def read(cls, text: Any) -> Self | None:
        """From a Job's annotation; None where it cannot be read."""
        document = _document(text)
        platforms, secrets = document.get("platforms"), document.get("pullSecrets")
        if not isinstance(platforms, list) or not isinstance(secrets, list):
            return None
        pairs = tuple((str(p[0]), str(p[1])) for p in secrets if isinstance(p, list) and len(p) == 2)
        return cls(tuple(str(platform) for platform in platforms), pairs, document.get("referrers") is True)


@dataclass(frozen=True, slots=True)
class Copied:
    """A copy that succeeded. `size` is in bytes; `visibility` is as what it was copied, empty where it did not say.

    `lacking` are the volumes that it did not reach, by the first label of their host's name, and why.
    """

    digest: str
    size: int
    platforms: tuple[str, ...]
    visibility: str = ""
    lacking: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """A copy that failed, with one of REASONS."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """One observed copy Job. `outcome` is None while it runs.

    `idle_since` is when it should have started, where it is known that no pod of it runs yet.
    """

    number: int
    inputs: Inputs | None
    outcome: Copied | Refused | None
    finished: datetime | None
    idle_since: datetime | None = None

    @classmethod
    def read(cls, job: Object) -> Self:
        noted = annotations(job)
        number = str(noted.get(ATTEMPT, ""))
        outcome = _outcome(job)
        return cls(
            number=int(number) if number.isascii() and number.isdigit() and len(number) < 10 else 0,
            inputs=Inputs.read(noted.get(INPUTS)),
            outcome=outcome,
            finished=_finished(job) if outcome else None,
            idle_since=None if outcome or RESULT in noted else _idle_since(job),
        )

    def patience(self, now: datetime) -> float | None:
        """Seconds that it still has to start, 0 where it took too long; None where it runs, or nothing tells."""
        if self.idle_since is None:
            return None
        return left_of(PATIENCE, self.idle_since, now)


def _outcome(job: Object) -> Copied | Refused | None:
    failed = holds(job, "Failed")
    if not failed and not holds(job, "Complete"):
        return None
    document = _document(annotations(job).get(RESULT))
    # The result is written last of all, so a good one counts even where the pod was killed right after it.
    return _copied(document) or _refused(document) or Refused("Failed", _why(job, failed=failed))


def _copied(document: Object) -> Copied | None:
    size, platforms = document.get("size"), document.get("platforms")
    if not isinstance(size, int) or isinstance(size, bool) or not isinstance(platforms, list):
        return None
    if not 0 <= size <= _MAX_SIZE:
        return None
    try:
        digest = Digest.parse(str(document.get("digest")))
    except InvalidDigest:
        return None
    # An image's own index names them, and may say anything.
    texts = (platform for platform in platforms if isinstance(platform, str) and platform.isascii())
    named = sorted({platform for platform in texts if len(platform) <= _MAX_PLATFORM})
    said = document.get("visibility")
    lacking = tuple(_lacking(document.get("volumes")))
    return Copied(str(digest), size, tuple(named[:_MAX_PLATFORMS]), said if said in VISIBILITIES else "", lacking)


def _lacking(volumes: Any) -> Iterator[tuple[str, str]]:
    """The volumes that a copy did not reach: `{"kuik-registry-0.kuik-registry:5000": "StoreFull"}`."""
    found = volumes.items() if isinstance(volumes, dict) else ()
    for host, said in sorted(found)[:_MAX_VOLUMES]:
        if said != "ok":
            yield host.partition(":")[0].partition(".")[0][:63], sentence(f"the copy did not reach it: {said}")[:512]


def _refused(document: Object) -> Refused | None:
    reason = document.get("reason")
    if not isinstance(reason, str):
        return None
    return Refused(reason if reason in REASONS else "Failed", sentence(document.get("message", "")))


def _why(job: Object, *, failed: bool) -> str:
    if not failed:
        return "the copy Job ended without a result that can be read"
    found = condition(job, "Failed") or {}
    return sentence(f"the copy Job failed: {found.get('reason', '')} {found.get('message', '')}".strip())


def _finished(job: Object) -> datetime | None:
    ended = condition(job, "Complete") if holds(job, "Complete") else condition(job, "Failed")
    times = (
        (ended or {}).get("lastTransitionTime"),
        part(job, "status").get("completionTime"),
        metadata(job).get("creationTimestamp"),
    )
    return next((time for time in map(parse_time, times) if time), None)


def _idle_since(job: Object) -> datetime | None:
    """As the Job controller tells it, which counts the pods that are ready; what it does not say is not known."""
    status = part(job, "status")
    if holds(job, "Suspended"):  # by a queue such as Kueue
        return parse_time((condition(job, "Suspended") or {}).get("lastTransitionTime"))
    ready = status.get("ready")
    return parse_time(status.get("startTime")) if ready == 0 and not isinstance(ready, bool) else None


def _document(text: Any) -> Object:
    if not isinstance(text, str) or len(text) > _MAX_RESULT:
        return {}
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
