"""What a sync of stage 3 changes in a CachedImage's status, as Events for people; pure.

A transition is told by the status that was observed and the one that is answered. Each has a name that follows from
the two alone, so a sync that is repeated, by whichever replica, says nothing new.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from hooks.conditions import FALSE, TRUE, condition
from hooks.progress import RUNNING, STALLED, Progress
from hooks.refresh import UP_TO_DATE, WARN
from hooks.volumes import DAMAGED, MISSING, NOT_SAID, REMOVED, WHOLE, Replica, noted
from kube.events import MAX_MESSAGE, NORMAL, WARNING, Involved, Said
from kube.paths import KINDS
from kube.types import API_VERSION, CACHED_IMAGE, Object, metadata, part, texts

MAX_WORKLOADS = 20
_MAX_NAME = 200  # characters of an object's name in its Event's: 253 are allowed, the hash takes 17
_DIGITS = 16
_DNS = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
# Copies tell none; what comes from a registry's own words may.
_CREDENTIALS = re.compile(
    r"(?P<url>://)[^/\s@]+@"
    r"|(?P<word>\b(?:bearer|basic)\s+)(?!realm\b)[\w.~+/=-]{8,}"
    r"|(?P<key>\b(?:password|passwd|secret|token|access_token|refresh_token|signature|sig|x-amz-[\w-]+)[=:]\s*)[^\s&\"',;]+",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class _State:
    """What of a status transitions are told by."""

    progress: Progress
    copying: bool
    stalled: bool
    upstream: str
    tag: str
    """The reason of condition UpToDate where that is False."""
    tag_since: str
    verified: str
    replicas: Mapping[str, Replica]

    @classmethod
    def read(cls, image: Object) -> Self:
        status = part(image, "status")
        tag = condition(image, UP_TO_DATE) or {}
        verified = condition(image, "Verified") or {}
        return cls(
            progress=Progress.read(image),
            copying=status.get("copy") == RUNNING,
            stalled=status.get("copy") == STALLED,
            upstream=str(status.get("upstreamDigest", "")),
            tag=str(tag.get("reason", "")) if tag.get("status") == FALSE else "",
            tag_since=str(tag.get("lastTransitionTime", "")),
            verified=str(verified.get("status", "")),
            replicas={one.volume: one for one in noted(image)},
        )

    @property
    def hopeless(self) -> bool:
        """Whether the image is not cached, and not for want of trying."""
        return not self.progress.cached and self.progress.failures > 0


@dataclass(frozen=True, slots=True)
class _Transition:
    """One change; `key` tells it from the same change at another time."""

    type: str
    reason: str
    message: str
    key: tuple[Any, ...]


def transitions(parent: Object, desired_status: Object) -> tuple[Said, ...]:
    """The Events about a CachedImage whose observed status becomes `desired_status`, and those for its workloads."""
    before, after = _State.read(parent), _State.read({"status": desired_status})
    spec, meta = part(parent, "spec"), metadata(parent)
    image = str(spec.get("image", ""))
    about = Involved(API_VERSION, CACHED_IMAGE, str(meta.get("name", "")), uid=str(meta.get("uid", "")))
    warned = part(spec, "refresh").get("mode") == WARN
    uid = about.uid or about.name
    own = [_said(one, about, uid) for one in _own(image, before, after, parent, warned=warned)]
    told = [_said(one, workload, uid) for one in _told(image, before, after) for workload in _workloads(spec)]
    return (*own, *told)


def _own(image: str, before: _State, after: _State, parent: Object, *, warned: bool) -> Iterator[_Transition]:
    was, now = before.progress, after.progress
    ended = now.attempts > was.attempts
    if now.failures > was.failures or (ended and now.failures):
        said = f"{image} could not be copied: {now.reason}: {now.message}"
        yield _Transition(WARNING, "CopyFailed", said, (now.attempts, now.failures, now.reason))
    elif ended and now.cached:
        yield _copied(image, was, now)
    if now.verified_at and now.verified_at != was.verified_at:
        if after.verified == FALSE:
            said = f"what is stored of {image} is damaged and is copied again: {now.message}"
            yield _Transition(WARNING, "Corrupt", said, (now.verified_at,))
        elif after.verified == TRUE and before.verified != TRUE:
            said = f"all that is stored of {image} is what its digest {now.digest} says"
            yield _Transition(NORMAL, "Verified", said, (now.verified_at,))
    yield from _of_volumes(image, before, after, part(parent, "spec"))
    yield from _of_tag(image, before, after, warned=warned)
    if after.copying and not before.copying:
        attempt = now.attempts + 1
        yield _Transition(NORMAL, "Copying", f"copying {image}, attempt {attempt}", (attempt,))
    if after.stalled and not before.stalled:
        attempt = now.attempts + 1
        said = f"the pod that copies {image}, attempt {attempt}, has not started in time; others are copied meanwhile"
        yield _Transition(WARNING, "CopyStalled", said, (attempt,))


def _copied(image: str, was: Progress, now: Progress) -> _Transition:
    """A copy has succeeded."""
    size = f"{now.size} bytes for {', '.join(now.platforms) or 'every platform'}"
    key = (now.attempts, now.digest)
    if was.cached and was.digest and was.digest != now.digest:
        said = f"{image} is now {now.digest}, before {was.digest}: {size}"
        return _Transition(NORMAL, "Refreshed", said, key)
    if was.failures or was.reason:
        said = f"{image} is cached after it failed ({was.reason or 'Failed'}): {now.digest}, {size}"
        return _Transition(NORMAL, "Recovered", said, key)
    return _Transition(NORMAL, "Cached", f"{image} is cached: {now.digest}, {size}", key)


_ON_VOLUME = {DAMAGED: "is damaged", MISSING: "is not all there"}


def _of_volumes(image: str, before: _State, after: _State, spec: Object) -> Iterator[_Transition]:
    """What the keepers found, each once; that a copy answered it is said by the copy."""
    for volume, now in after.replicas.items():
        was = before.replicas.get(volume, Replica(volume))
        if now.state == was.state:
            continue
        key = (volume, now.at, now.digest)
        if now.state in _ON_VOLUME:
            said = f"what volume {volume} holds of {image} {_ON_VOLUME[now.state]}: {now.message or 'no more is known'}"
            yield _Transition(WARNING, now.state, said, key)
        elif now.state == REMOVED:
            why = {"Evicted": " to make room", "OverQuota": ", as its namespaces have more than their quota"}
            wish = str(spec.get("remove", ""))
            said = f"{image} was removed from volume {volume}{why.get(wish, ' as it was wished')}"
            yield _Transition(NORMAL, wish if wish in why else REMOVED, said, key)
        elif now.state == WHOLE and was.state not in (WHOLE, NOT_SAID):
            yield _Transition(NORMAL, "Healed", f"volume {volume} holds {image} whole again", key)
    lost = before.progress.cached and not after.progress.cached
    if lost and after.replicas and after.progress.reason != REMOVED:
        said = f"no volume holds {image} whole any more, so that it is copied again: {after.progress.message}"
        yield _Transition(WARNING, "Lost", said, tuple(one.at for one in after.replicas.values()))


def _of_tag(image: str, before: _State, after: _State, *, warned: bool) -> Iterator[_Transition]:
    digest = after.progress.digest
    if after.tag == "Moved" and warned and (before.tag, before.upstream) != ("Moved", after.upstream):
        said = f"upstream, {image} is now {after.upstream}; {digest} stays, as spec.refresh.mode is Warn"
        yield _Transition(WARNING, "Moved", said, (digest, after.upstream, before.tag_since))
    if after.tag == "Gone" and before.tag != "Gone":
        said = f"upstream has no {image} any more; what is cached, {digest}, stays"
        yield _Transition(WARNING, "Gone", said, (digest, before.upstream, before.tag_since))


def _told(image: str, before: _State, after: _State) -> Iterator[_Transition]:
    """What the owners of workloads are told, who cannot read a CachedImage; a retry that fails alike is nothing new."""
    now = after.progress
    if after.hopeless and (not before.hopeless or before.progress.reason != now.reason):
        said = f"image {image} cannot be cached: {now.reason}: {now.message}"
        yield _Transition(WARNING, "ImageNotCached", said, (now.attempts, now.reason))
    elif before.hopeless and now.cached:
        yield _Transition(NORMAL, "ImageCached", f"image {image} is cached now", (now.attempts,))


def _workloads(spec: Object) -> Iterator[Involved]:
    """The first workloads of spec.usedBy; a policy of the whole cluster is none."""
    for user in texts(spec, "usedBy")[:MAX_WORKLOADS]:
        words = user.split("/")
        kind = KINDS.get(words[1]) if len(words) == 3 else None
        if kind and kind.namespaced and _DNS.fullmatch(words[0]) and _DNS.fullmatch(words[2]):
            yield Involved(kind.api_version, kind.kind, words[2], words[0])


def _said(one: _Transition, about: Involved, uid: str) -> Said:
    parts = (uid, about.kind, about.namespace, about.name, one.reason, *one.key)
    named = hashlib.sha256("\n".join(str(value) for value in parts).encode("utf-8", "replace")).hexdigest()[:_DIGITS]
    name = f"{about.name[:_MAX_NAME].rstrip('-.')}.{named}"
    return Said(name, one.type, one.reason, _fit(one.message), about)


def _fit(message: str) -> str:
    """The message without credentials, on one line, as long as an Event may have it."""
    plain = _CREDENTIALS.sub(lambda found: f"{found['url'] or found['word'] or found['key']}***", message)
    return " ".join(plain.split())[:MAX_MESSAGE]
