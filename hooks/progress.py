"""How far a CachedImage has come: what its status says, joined with what its Jobs and the keeper say since."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self

from hooks.attempts import Attempt, Copied, Inputs, Refused
from hooks.conditions import FALSE, TRUE, UNKNOWN, Condition, condition, holds, stated
from hooks.verification import Report
from hooks.volumes import WHOLE, Replica, lost, told, verified
from kube.duration import ANOTHER_CLOCK, later, left_of
from kube.types import Object, part, texts

WANTED = "Wanted"
RUNNING = "Running"
STALLED = "Stalled"
"""A copy Job whose pod has not started in time."""
WAITING = "Waiting"

_FIRST_BACKOFF = 30.0
_MAX_BACKOFF = 1800.0
_DOUBLINGS = 10
_ANSWERED_BY_SECRETS = frozenset({"Unauthorized", "NotFound"})
_NOT_STARTED = Condition(
    "Cached", FALSE, STALLED, "the copy Job's pod has not started in time: the Job's and its pod's Events tell why"
)


@dataclass(frozen=True, slots=True)
class Progress:
    """The lasting part of a CachedImage's status.

    `attempts` counts finished copies whose result is in here, `failures` those that failed since the last success.
    `requested` are the platforms that the last successful copy was asked for, None before the first, and
    `referrers` whether it kept what refers to the image; `visibility` is as
    what it was copied, and so where it is in the cluster's registry.
    """

    cached: bool = False
    digest: str = ""
    size: int = 0
    platforms: tuple[str, ...] = ()
    requested: tuple[str, ...] | None = None
    referrers: bool = False
    visibility: str = ""
    attempts: int = 0
    failures: int = 0
    reason: str = ""
    message: str = ""
    verified: Condition | None = None
    verified_at: str = ""

    @classmethod
    def read(cls, image: Object) -> Self:
        """From the observed status; what it does not say is as for a new image."""
        status = part(image, "status")
        found = condition(image, "Verified")
        requested = texts(status, "requestedPlatforms") if isinstance(status.get("requestedPlatforms"), list) else None
        return cls(
            cached=holds(image, "Cached"),
            digest=str(status.get("digest", "")),
            size=_count(status, "size"),
            platforms=tuple(texts(status, "platforms")),
            requested=None if requested is None else tuple(requested),
            referrers=status.get("referrers") is True,
            visibility=str(status.get("copiedAs", "")),
            attempts=_count(status, "attempts"),
            failures=_count(status, "failures"),
            reason=str(status.get("reason", "")),
            message=str(status.get("message", "")),
            verified=_condition(found) if found else None,
            verified_at=str(status.get("verifiedAt", "")),
        )

    def after(self, attempt: Attempt) -> "Progress":
        """With the result of a finished attempt, unless it is already in here."""
        if attempt.outcome is None or attempt.number <= self.attempts:
            return self
        if isinstance(attempt.outcome, Refused):
            refused = attempt.outcome
            counted = replace(self, attempts=attempt.number, failures=self.failures + 1)
            return replace(counted, reason=refused.reason, message=refused.message)
        return self._copied(attempt, attempt.outcome)

    def _copied(self, attempt: Attempt, copied: Copied) -> "Progress":
        proven = self.verified
        if proven and (proven.status != TRUE or copied.digest != self.digest):
            proven = Condition("Verified", UNKNOWN, "NotVerifiedYet", "copied again since the last verification")
        return replace(
            self,
            cached=True,
            digest=copied.digest,
            size=copied.size,
            platforms=copied.platforms,
            requested=attempt.inputs.platforms if attempt.inputs else (),
            referrers=attempt.inputs is not None and attempt.inputs.referrers,
            visibility=copied.visibility or self.visibility,
            attempts=attempt.number,
            failures=0,
            reason="",
            message="",
            verified=proven,
        )

    def checked(self, report: Report | None) -> "Progress":
        """With the keeper's report, each acted on once: a damaged image is no longer cached and is copied again."""
        if report is None or report.at == self.verified_at or report.digest != self.digest:
            return self
        if report.ok:
            proven = Condition("Verified", TRUE, "Verified", report.message)
            return replace(self, verified=proven, verified_at=report.at)
        message = report.message or "what is stored is not what its digest says"
        damaged = Condition("Verified", FALSE, "Corrupt", message)
        lost = replace(self, cached=False, failures=0, reason="Corrupt", message=message)
        return replace(lost, verified=damaged, verified_at=report.at)

    def standing(self, found: Sequence[Replica]) -> "Progress":
        """With what the keepers say of their volumes: an image that none of them holds any more is not cached, and one
        that a volume holds again is."""
        if not found:
            return self
        why, after = lost(found), self
        if why and self.cached:
            after = replace(self, cached=False, failures=0, reason=why, message=told(found))
        elif whole := [one for one in found if one.state == WHOLE and not self.cached]:
            after = replace(self, cached=True, digest=whole[0].digest, failures=0, reason="", message="")
        if not any(one.at for one in found):  # a copy's word alone proves nothing, and takes no proof away
            return after
        proven, oldest = verified(found, cached=after.cached)
        return replace(after, verified=proven, verified_at=oldest)

    def wants(self, inputs: Inputs) -> bool:
        """Whether a copy is needed: there is none, or more is wanted than the last one was asked for."""
        if not self.cached or self.requested is None:
            return True
        if inputs.referrers and not self.referrers:
            return True
        if not self.requested:  # it was asked for every platform
            return False
        return not inputs.platforms or not set(inputs.platforms) <= set(self.requested)

    def wait(self, last: Attempt | None, inputs: Inputs, now: datetime) -> float:
        """Seconds until the next attempt may start; 0 for at once."""
        if not self.failures or last is None or last.finished is None or last.finished > later(now, ANOTHER_CLOCK):
            return 0.0
        if last.inputs and self._answered(last.inputs, inputs):
            return 0.0
        backoff = min(_MAX_BACKOFF, _FIRST_BACKOFF * 2 ** min(self.failures - 1, _DOUBLINGS))
        return left_of(backoff, last.finished, now)

    def _answered(self, before: Inputs, after: Inputs) -> bool:
        """Whether what the last attempt failed for has changed since."""
        if self.reason in _ANSWERED_BY_SECRETS and before.secrets != after.secrets:
            return True
        return (before.platforms, before.referrers) != (after.platforms, after.referrers)

    def content(self) -> "Progress":
        """Where no copy is needed any more, what one failed for does not matter any more."""
        return replace(self, failures=0, reason="", message="") if self.failures else self

    def status(
        self,
        image: Object,
        copy: str,
        now: datetime,
        up_to_date: Condition | None = None,
        held: Condition | None = None,
    ) -> Mapping[str, Any]:
        """The status to write; `copy` is WANTED, RUNNING, STALLED, WAITING or empty. What says nothing is left out.

        `held` is why no copy starts although one is wanted.
        """
        phase = self._phase(copying=copy in (RUNNING, STALLED))
        cached = self._cached(phase)
        if not self.cached:
            cached = _NOT_STARTED if copy == STALLED else held if held and copy != RUNNING else cached
        conditions = [one for one in (cached, self.verified, up_to_date) if one]
        said = {
            "digest": self.digest,
            "size": self.size,
            "platforms": list(self.platforms),
            "copiedAs": self.visibility,
            "copy": copy,
            "reason": self.reason,
            "message": self.message,
            "verifiedAt": self.verified_at,
        }
        return {
            "phase": phase,
            "attempts": self.attempts,
            "failures": self.failures,
            **{name: value for name, value in said.items() if value},
            **({} if self.requested is None else {"requestedPlatforms": list(self.requested)}),
            **({"referrers": True} if self.referrers else {}),
            "conditions": [stated(image, one, now) for one in conditions],
        }

    def _phase(self, *, copying: bool) -> str:
        if self.cached:
            return "Cached"
        if copying:
            return "Copying"
        return "Failed" if self.failures else "Pending"

    def _cached(self, phase: str) -> Condition:
        if self.cached:
            return Condition("Cached", TRUE, "Copied", f"a refresh failed: {self.message}" if self.failures else "")
        return Condition("Cached", FALSE, self.reason or phase, self.message)


def _count(status: Object, field: str) -> int:
    value = status.get(field)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _condition(found: Object) -> Condition:
    said = (str(found.get(field, "")) for field in ("type", "status", "reason", "message"))
    return Condition(*said)
