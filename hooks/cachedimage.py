"""Stage 3: one CachedImage, at most one copy Job, and the status that tells how the image stands."""

from collections.abc import Sequence
from dataclasses import replace

from hooks.attempts import Attempt, Inputs
from hooks.facts import Groups, Observation
from hooks.imagecache import pull_secrets
from hooks.jobs import copy_job
from hooks.messages import Desired, RelatedRule, Unreadable
from hooks.progress import Progress
from hooks.resources import JOB
from hooks.verification import Report
from kube.types import Object, part, texts
from registry.reference import InvalidReference, Reference

_SOON = 1.0  # seconds


def customize(_parent: Object) -> Sequence[RelatedRule]:
    """Nothing: the image and its Jobs tell all."""
    return []


def sync(parent: Object, children: Groups, seen: Observation) -> Desired:
    """The copy Job that is running, waiting to be read, or due; and the image's status.

    A Job stays until the observed status holds its result, and a failed one until the next attempt, whose time
    depends on when it ended.
    """
    spec = part(parent, "spec")
    image = spec.get("image")
    if not isinstance(image, str):
        raise Unreadable("parent.spec.image: name the image to cache")
    problem = _problem(image)
    if problem:
        return Desired(status=_misnamed(parent, problem).status(parent, copying=False, now=seen.now))
    inputs = Inputs(tuple(sorted(set(texts(spec, "platforms")))), pull_secrets(spec))
    before = Progress.read(parent)
    last = _last(children)
    after = (before.after(last) if last else before).checked(Report.read(parent))
    wanted = after.wants(inputs) and spec.get("suspend") is not True
    wait = after.wait(last, inputs, seen.now) if wanted else None
    unread = last is not None and (last.outcome is None or last.number > before.attempts)
    number, resync = _number(after, last, wait, unread=unread)
    jobs = [copy_job(parent, image, number, inputs, seen.settings.job)] if number else []
    copying = bool(number) and not (last and last.outcome and last.number == number)
    return Desired(jobs, after.status(parent, copying=copying, now=seen.now), resync)


def _number(after: Progress, last: Attempt | None, wait: float | None, *, unread: bool) -> tuple[int, float]:
    """The attempt whose Job there should be (0 for none), and the seconds until that may change by itself.

    `wait` is None where no copy is wanted; an `unread` Job runs or has a result that the status does not hold.
    """
    if last and unread:
        # Nothing else calls again once the status is written: the controller ignores changes of it.
        return last.number, max(_SOON, wait or 0.0) if last.outcome else 0.0
    if wait is None:
        return 0, 0.0
    if last and wait:
        return last.number, wait
    return max(after.attempts, last.number if last else 0) + 1, 0.0


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
