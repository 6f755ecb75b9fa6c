"""Stage 3: one CachedImage, at most one copy Job, and the status that tells how the image stands."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from hooks.access import PRIVATE, access
from hooks.attempts import Attempt, Copied, Inputs
from hooks.conditions import FALSE, Condition, sentence
from hooks.facts import Groups, Observation, Questions
from hooks.jobs import copy_job
from hooks.messages import Desired, RelatedRule, Unreadable
from hooks.progress import RUNNING, STALLED, WAITING, WANTED, Progress
from hooks.refresh import IGNORE, SYNC, Earlier, Refresh, Upstream, earlier, kept, listed
from hooks.removal import leaves
from hooks.resources import JOB
from hooks.retention import DEFAULT_RETENTION
from hooks.verification import Report
from hooks.volumes import MISSING, Replica, found_whole, lacks_attached, replicas
from hooks.wanted import pull_secrets
from kube.duration import later, parse_duration
from kube.types import Object, part, texts
from registry.digest import Digest, InvalidDigest
from registry.reference import InvalidReference, Reference

_SOON = 1.0  # seconds


def customize(_parent: Object) -> Sequence[RelatedRule]:
    """Nothing: the image and its Jobs tell all."""
    return []


def asks(parent: Object, _children: Groups, _now: datetime) -> Questions:
    """Who may pull the image and where its tag points; where nobody is to look at the tag, the digest names it."""
    spec = part(parent, "spec")
    image = spec.get("image")
    if not isinstance(image, str) or _problem(image):
        return Questions()
    reference = Reference.parse(image)
    if Refresh.read(spec, reference).mode != IGNORE or reference.digest:
        return Questions(image=str(reference))
    try:
        return Questions(image=str(reference.with_digest(Digest.parse(Progress.read(parent).digest))))
    except InvalidDigest:  # not copied yet
        return Questions()


def sync(parent: Object, children: Groups, seen: Observation) -> Desired:
    """The copy Job that is running, waiting to be read, or due; and the image's status.

    A Job stays until the observed status holds its result, and one that must not be repeated at once until the next
    attempt, whose time depends on when it ended.
    """
    spec = part(parent, "spec")
    image = spec.get("image")
    if not isinstance(image, str):
        raise Unreadable("parent.spec.image: name the image to cache")
    problem = _problem(image)
    if problem:
        return Desired(status=_misnamed(parent, problem).status(parent, "", seen.now))
    inputs = Inputs.of(texts(spec, "platforms"), pull_secrets(spec), referrers=spec.get("referrers") is True)
    refresh = Refresh.read(spec, Reference.parse(image))
    before = Progress.read(parent)
    last = _last(children)
    after = before.after(last) if last else before
    found = after.digest if after.digest != before.digest else ""
    stand = _replicas(parent, before, after, last, seen.settings.volumes)
    after = after.standing(stand) if stand else after.checked(Report.read(parent))
    if lacks_attached(parent, stand):
        after = replace(after, referrers=False)
    upstream = Upstream.read(parent).after(found, refresh, seen.image.upstream)
    proof = access(parent, seen.image.access, after.visibility if after.cached else "")
    private = proof.get("visibility") == PRIVATE
    moved = upstream.moved_from(after.digest) and refresh.mode == SYNC
    wait = None
    if not leaves(parent):
        wait = _wait(after, last, inputs, moved or _misplaced(after, proof), refresh, seen.now)
    if wait is None and after.cached:
        after = after.content()
    unread = last is not None and (last.outcome is None or last.number > before.attempts)
    turn = _turn(after, last, wait, seen.now, unread=unread, suspended=spec.get("suspend") is True)
    jobs = []
    if turn.number:
        # Nothing was ever copied for this very CachedImage, and nobody found that what is there is no good.
        new = before.requested is None and before.reason not in ("Corrupt", MISSING)
        jobs.append(copy_job(parent, image, turn.number, inputs, seen.settings.job, private=private, adopt=new))
    past = _earlier(parent, before, after, last, seen.now)
    status = {
        **after.status(
            parent, turn.copy, seen.now, upstream.condition(parent, after.digest, refresh, seen.image), _held(spec)
        ),
        **({"upstreamDigest": upstream.digest} if upstream.digest else {}),
        **({"access": proof} if proof else {}),
        **listed(past),
        **({"replicas": [one.entry() for one in stand]} if stand else {}),
    }
    again = refresh.until_asked(image, seen.image, proven=bool(proof), now=seen.now)
    due = [(one.until - seen.now).total_seconds() for one in past]
    return Desired(jobs, status, min((wait for wait in (turn.resync, again, *due) if wait), default=0.0))


def _replicas(
    parent: Object, before: Progress, after: Progress, last: Attempt | None, known: Sequence[str]
) -> tuple[Replica, ...]:
    """How the image stands on each volume, with what a copy has just done."""
    copied = last.outcome if last and after.attempts > before.attempts else None
    digest = after.digest or found_whole(parent, known)
    return replicas(parent, known, digest, dict(copied.lacking) if isinstance(copied, Copied) else None)


def _held(spec: Object) -> Condition | None:
    """Why stage 2 lets no copy start, where it does not."""
    hold = part(spec, "hold")
    reason = hold.get("reason")
    return Condition("Cached", FALSE, str(reason), sentence(hold.get("message", ""))) if reason else None


def _misplaced(after: Progress, proof: Object) -> bool:
    """Whether the copy is where those who may pull the image now do not find it: public and private lie apart."""
    return after.cached and bool(after.visibility and proof) and after.visibility != proof.get("visibility")


def _wait(
    after: Progress, last: Attempt | None, inputs: Inputs, moved: bool, refresh: Refresh, now: datetime
) -> float | None:
    """Seconds until the next attempt may start, None where no copy is needed."""
    if after.wants(inputs):
        return after.wait(last, inputs, now)
    return max(after.wait(last, inputs, now), refresh.wait(last, now)) if moved else None


def _earlier(
    parent: Object, before: Progress, after: Progress, last: Attempt | None, now: datetime
) -> tuple[Earlier, ...]:
    """The earlier digests to keep, with the one that a copy has just replaced."""
    found = earlier(parent)
    if before.cached and before.digest and after.digest != before.digest:
        try:
            retention = parse_duration(str(part(parent, "spec").get("retention", DEFAULT_RETENTION)))
        except ValueError as error:
            raise Unreadable(f"parent.spec.retention: {error}") from error
        ended = last.finished if last and last.finished else now
        found = (Earlier(before.digest, later(ended, retention)), *found)
    return kept(found, after.digest, now)


@dataclass(frozen=True, slots=True)
class _Turn:
    """The attempt whose Job there should be (0 for none), `status.copy`, and the seconds until this may change."""

    number: int
    copy: str
    resync: float = 0.0


def _turn(
    after: Progress, last: Attempt | None, wait: float | None, now: datetime, *, unread: bool, suspended: bool
) -> _Turn:
    """What is to be done now. `wait` is None where no copy is needed; an `unread` Job runs or has a result that the
    observed status does not hold. A Job that runs is never stopped, whosever turn it is.
    """
    need = "" if wait is None else WAITING if wait else WANTED
    if last and unread:
        if last.outcome is None:
            left = last.patience(now)
            return _Turn(last.number, STALLED) if left == 0 else _Turn(last.number, RUNNING, left or 0.0)
        # Nothing else calls again once the status is written: the controller ignores changes of it.
        return _Turn(last.number, need, max(_SOON, wait or 0.0))
    if wait is None:
        return _Turn(0, "")
    if last and wait:
        return _Turn(last.number, WAITING, wait)
    if suspended:
        return _Turn(0, WANTED)
    return _Turn(max(after.attempts, last.number if last else 0) + 1, RUNNING)


def _misnamed(parent: Object, problem: str) -> Progress:
    before = Progress.read(parent)
    return replace(before, failures=max(1, before.failures), reason="Failed", message=problem)


def _last(children: Groups) -> Attempt | None:
    attempts = [Attempt.read(job) for job in children[JOB.group].values()]
    return max(attempts, key=lambda attempt: attempt.number, default=None)


def _problem(image: str) -> str:
    try:
        Reference.parse(image)
    except InvalidReference as error:
        return str(error)
    return ""
