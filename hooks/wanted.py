"""One CachedImage as stage 2 wants it: who uses it, on which terms it is kept, and when it expires."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from hooks.capacity import Room
from hooks.facts import Absent, Known, Secret, Unknown
from hooks.quotas import namespaces_of
from hooks.removal import done
from hooks.retention import remaining, unused_since
from hooks.shield import MAX_SECRETS
from hooks.terms import Refresh, Retention, Terms
from hooks.usage import Usage, Use, terms_of
from kube.duration import parse_duration
from kube.types import API_VERSION, CACHED_IMAGE, Object, entries, format_time, metadata, parse_time, part, texts
from registry.reference import DOCKER_HUB, Reference

_MAX_SLUG = 52  # with the dash and the digits of the hash, a name fits a label
_HASH_DIGITS = 10
_MAX_BEFORE = 20


@dataclass(frozen=True, slots=True)
class Plan:
    """What one sync knows while it goes through the images. `defaults` are the ImageCache's own terms, all of them."""

    usage: Usage
    defaults: Terms
    labels: Mapping[str, str]
    now: datetime
    in_use: Known[frozenset[str]] | Absent | Unknown
    room: Room = field(default_factory=Room)

    @property
    def frozen(self) -> bool:
        """Whether too little is known to begin that an image is unused."""
        return bool(self.usage.gaps) or isinstance(self.in_use, Unknown)

    def pods_use(self, image: str) -> bool:
        return isinstance(self.in_use, Known) and image in self.in_use.value


@dataclass(frozen=True, slots=True)
class Wanted:
    """A CachedImage to have; the seconds until it expires, where it may; and for how many seconds it has been unused,
    None where it is not, or where that is not known."""

    child: dict[str, Any]
    expires: float | None = None
    idle: float | None = None


def name_of(image: str) -> str:
    """The CachedImage's name: what a person recognises of the image, and a hash that tells it from all others."""
    reference = Reference.parse(image)
    host = "" if reference.host == DOCKER_HUB else reference.host
    version = reference.digest.hex[:12] if reference.digest else reference.tag or ""
    words = "-".join((host, reference.repository.removeprefix("library/"), version)).lower()
    slug = re.sub(r"[^a-z0-9]+", "-", words)[-_MAX_SLUG:].strip("-")
    return f"{slug}-{hashlib.sha256(image.encode()).hexdigest()[:_HASH_DIGITS]}"


def pull_secrets(spec: Object) -> tuple[Secret, ...]:
    """The pull secrets in a CachedImage's spec."""
    found = ((entry.get("namespace"), entry.get("secret")) for entry in entries(spec, "pullSecrets"))
    return tuple(sorted((ns, name) for ns, name in found if isinstance(ns, str) and isinstance(name, str)))


def overdue(child: Object, defaults: Terms, now: datetime) -> bool:
    """Whether an observed CachedImage would expire now, as far as it says by itself."""
    spec = part(child, "spec")
    left = remaining(spec, parse_duration(_terms(None, spec, defaults, keep=True).retention.duration), now)
    return left is not None and left <= 0 and spec.get("retain") is not True


def wanted(image: str, child: Object | None, plan: Plan) -> Wanted | None:
    """The CachedImage to have for an image; None once it has expired."""
    use = plan.usage.uses.get(image)
    observed = part(child, "spec") if child else {}
    gaps = bool(plan.usage.gaps)
    if gaps or (use is None and plan.pods_use(image)):
        use = _kept(use or Use(), observed)
    unused = (use is None or not use.users) and not plan.pods_use(image)
    terms = _terms(use, observed, plan.defaults, keep=gaps or use is None or unused)
    retention = parse_duration(terms.retention.duration)
    left = remaining(observed, retention, plan.now) if unused else None
    mortal = unused and not gaps and observed.get("retain") is not True
    expired = (left is not None and left <= 0) or (unused and child is not None and done(child, plan.room))
    if mortal and isinstance(plan.in_use, Known) and expired:
        return None
    since = _unused_since(observed, plan) if unused else None
    spec = _spec(image, use or Use(), terms)
    made = _object(image, child, {**spec, **_history(observed, since, unused=unused)}, plan)
    idle = None if since is None else max(0.0, (plan.now - since).total_seconds())
    if not mortal or since is None:
        return Wanted(made, None, idle)
    return Wanted(made, retention.total_seconds() if left is None else max(0.0, left), idle)


@dataclass(frozen=True, slots=True)
class _Effective:
    """Terms of which nothing is left unsaid."""

    retention: Retention
    refresh: Refresh
    platforms: frozenset[str]
    referrers: bool


def _terms(use: Use | None, observed: Object, defaults: Terms, *, keep: bool) -> _Effective:
    """The terms in force. With `keep`, what a rule said before counts on, since nobody says anything else now."""
    said = use.terms if use else Terms()
    if keep:
        before = terms_of(observed)
        said = said.joined(Terms(before.retention, before.refresh, before.platforms, before.referrers))
    found = defaults.under(said)
    assert found.retention is not None  # noqa: S101 - the defaults say everything
    assert found.refresh is not None  # noqa: S101
    return _Effective(found.retention, found.refresh, found.platforms or frozenset(), bool(found.referrers))


def _kept(use: Use, observed: Object) -> Use:
    """The use that is known joined with what was known before: what cannot be told now is not forgotten."""
    users = use.users | set(texts(observed, "usedBy"))
    total = observed.get("users")
    total = max(use.total, len(users), total if isinstance(total, int) else 0)
    return Use(use.secrets | set(pull_secrets(observed)), users, total, use.terms)


def _unused_since(observed: Object, plan: Plan) -> datetime | None:
    return unused_since(observed, plan.now) or (None if plan.frozen else plan.now)


def _history(observed: Object, since: datetime | None, *, unused: bool) -> dict[str, Any]:
    """Since when the image is unused, and whose it was before."""
    if not unused:
        # What somebody else wrote there stays unless it is taken away by name.
        wrong = observed.get("unusedSince") is not None and (observed.get("users") or observed.get("usedBy"))
        return {"unusedSince": None} if wrong else {}
    before = namespaces_of(texts(observed, "usedBy")) or frozenset(texts(observed, "usedBefore"))
    return {
        **({"unusedSince": _as_written(observed, since)} if since else {}),
        **({"usedBefore": sorted(before)[:_MAX_BEFORE]} if before else {}),
    }


def _as_written(observed: Object, since: datetime) -> str:
    """The moment in the words that stand there, where they mean it."""
    said = observed.get("unusedSince")
    return str(said) if parse_time(said) == since else format_time(since)


def _spec(image: str, use: Use, terms: _Effective) -> dict[str, Any]:
    # Not `name`: Metacontroller would merge the list by it, and secrets of one name in two namespaces would be one.
    secrets = [{"namespace": namespace, "secret": name} for namespace, name in sorted(use.secrets)[:MAX_SECRETS]]
    refresh = {"mode": terms.refresh.mode, "interval": terms.refresh.interval}
    return {
        "image": image,
        "platforms": sorted(terms.platforms),
        **({"referrers": True} if terms.referrers else {}),
        "pullSecrets": secrets,
        "usedBy": use.first_users,
        "users": use.total,
        "retention": terms.retention.duration,
        **({"retentionRule": terms.retention.rule} if terms.retention.rule else {}),
        "refresh": {**refresh, **({"rule": terms.refresh.rule} if terms.refresh.rule else {})},
    }


def _object(image: str, child: Object | None, spec: dict[str, Any], plan: Plan) -> dict[str, Any]:
    name = metadata(child)["name"] if child else name_of(image)
    meta = {"name": name, "labels": {"app.kubernetes.io/managed-by": "kube-image-keeper", **plan.labels}}
    return {"apiVersion": API_VERSION, "kind": CACHED_IMAGE, "metadata": meta, "spec": spec}
