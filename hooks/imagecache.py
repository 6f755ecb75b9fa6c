"""Stage 2: the CachedImages that all inventories together ask for, and when those that nobody uses expire."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from hooks.conditions import FALSE, TRUE, Condition, holds, stated
from hooks.facts import Groups, Known, Observation, Secret, Unknown
from hooks.messages import Desired, RelatedRule, Unreadable
from hooks.resources import CACHED, INVENTORY, NAMESPACE
from hooks.retention import DEFAULT_RETENTION, parse_duration, remaining
from hooks.usage import Usage, Use, usage
from kube.types import API_VERSION, CACHED_IMAGE, Object, entries, format_time, metadata, part, texts
from registry.reference import DOCKER_HUB, Reference

_MAX_SLUG = 52  # with the dash and the digits of the hash, a name fits a label
_HASH_DIGITS = 10
_NAMED_GAPS = 5


@dataclass(frozen=True, slots=True)
class _Plan:
    """What one sync knows while it goes through the images."""

    usage: Usage
    retention: timedelta
    platforms: tuple[str, ...]
    labels: Mapping[str, str]
    seen: Observation

    @property
    def frozen(self) -> bool:
        return bool(self.usage.gaps) or isinstance(self.seen.in_use, Unknown)

    def pods_use(self, image: str) -> bool:
        return isinstance(self.seen.in_use, Known) and image in self.seen.in_use.value


def customize(_parent: Object) -> list[RelatedRule]:
    """All inventories, and all namespaces: one without an inventory has use that is not known."""
    return [RelatedRule(INVENTORY), RelatedRule(NAMESPACE)]


def sync(parent: Object, children: Groups, seen: Observation) -> Desired:
    """The CachedImages to have and the cache's summary; raises Unreadable for a spec that the schema would refuse."""
    plan = _plan(parent, seen)
    existing = {metadata(child)["name"]: child for child in children[CACHED.group].values()}
    images = [(_image(child), child) for child in existing.values()]
    new = plan.usage.uses.keys() - {image for image, _ in images}
    found = [_cached_image(image, child, plan) for image, child in (*images, *((image, None) for image in new))]
    wanted = sorted((child for child, _ in found if child is not None), key=lambda child: child["metadata"]["name"])
    expiries = [left for _, left in found if left is not None]
    status = _status(parent, plan, [existing.get(child["metadata"]["name"], child) for child in wanted])
    return Desired(wanted, status, max(1.0, min(expiries)) if expiries else 0.0)


def name_of(image: str) -> str:
    """The CachedImage's name: what a person recognises of the image, and a hash that tells it from all others."""
    reference = Reference.parse(image)
    host = "" if reference.host == DOCKER_HUB else reference.host
    version = reference.digest.hex[:12] if reference.digest else reference.tag or ""
    words = "-".join((host, reference.repository.removeprefix("library/"), version)).lower()
    slug = re.sub(r"[^a-z0-9]+", "-", words)[-_MAX_SLUG:].strip("-")
    return f"{slug}-{hashlib.sha256(image.encode()).hexdigest()[:_HASH_DIGITS]}"


def _plan(parent: Object, seen: Observation) -> _Plan:
    spec = part(parent, "spec")
    try:
        retention = parse_duration(str(spec.get("retention", DEFAULT_RETENTION)))
    except ValueError as error:
        raise Unreadable(f"parent.spec.retention: {error}") from error
    labels = part(part(spec, "selector"), "matchLabels")
    if not labels:
        raise Unreadable("parent.spec.selector.matchLabels: name a label, so that a new ImageCache finds its images")
    found = usage(seen.related[NAMESPACE.group], seen.related[INVENTORY.group])
    return _Plan(found, retention, tuple(sorted(set(texts(spec, "platforms")))), dict(labels), seen)


def _image(child: Object) -> str:
    image = part(child, "spec").get("image")
    if not isinstance(image, str) or not image:
        raise Unreadable(f"children: CachedImage {metadata(child)['name']} has no spec.image")
    return image


def _cached_image(image: str, child: Object | None, plan: _Plan) -> tuple[Object | None, float | None]:
    """The child to have for an image, None once it has expired; and the seconds until it will, where it may."""
    use = plan.usage.uses.get(image)
    name = metadata(child)["name"] if child else name_of(image)
    observed = part(child, "spec") if child else {}
    if plan.usage.gaps or (use is None and plan.pods_use(image)):
        use = _kept(use or Use(), observed)
    unused = (use is None or not use.users) and not plan.pods_use(image)
    left = remaining(observed, plan.retention, plan.seen.now) if unused else None
    mortal = unused and not plan.frozen and observed.get("retain") is not True
    if mortal and left is not None and left <= 0:
        return None, None
    spec = _spec(image, use or Use(), plan, _unused_since(observed, plan) if unused else None)
    if not mortal:
        return _object(name, spec, plan), None
    return _object(name, spec, plan), left if left is not None else max(0.0, plan.retention.total_seconds())


def _kept(use: Use, observed: Object) -> Use:
    """The use that is known joined with what was known before: what cannot be told now is not forgotten."""
    users = use.users | set(texts(observed, "usedBy"))
    total = observed.get("users")
    total = max(use.total, len(users), total if isinstance(total, int) else 0)
    return Use(use.secrets | set(pull_secrets(observed)), users, total)


def _unused_since(observed: Object, plan: _Plan) -> str | None:
    if remaining(observed, plan.retention, plan.seen.now) is not None:
        return str(observed["unusedSince"])
    return None if plan.frozen else format_time(plan.seen.now)


def pull_secrets(spec: Object) -> tuple[Secret, ...]:
    """The pull secrets in a CachedImage's spec."""
    found = ((entry.get("namespace"), entry.get("secret")) for entry in entries(spec, "pullSecrets"))
    return tuple(sorted((ns, name) for ns, name in found if isinstance(ns, str) and isinstance(name, str)))


def _spec(image: str, use: Use, plan: _Plan, unused_since: str | None) -> Mapping[str, Any]:
    # Not `name`: Metacontroller would merge the list by it, and secrets of one name in two namespaces would be one.
    secrets = [{"namespace": namespace, "secret": name} for namespace, name in sorted(use.secrets)]
    return {
        "image": image,
        "platforms": list(plan.platforms),
        "pullSecrets": secrets,
        "usedBy": use.first_users,
        "users": use.total,
        **({"unusedSince": unused_since} if unused_since else {}),
    }


def _object(name: str, spec: Mapping[str, Any], plan: _Plan) -> Object:
    labels = {"app.kubernetes.io/managed-by": "kube-image-keeper", **plan.labels}
    meta = {"name": name, "labels": labels}
    return {"apiVersion": API_VERSION, "kind": CACHED_IMAGE, "metadata": meta, "spec": spec}


def _status(parent: Object, plan: _Plan, images: Iterable[Object]) -> Mapping[str, Any]:
    observed = list(images)
    cached = [image for image in observed if holds(image, "Cached")]
    failed = sum(1 for image in observed if part(image, "status").get("phase") == "Failed")
    sizes = (part(image, "status").get("size") for image in cached)
    ready = _ready(plan, len(observed), len(cached), failed)
    return {
        "images": len(observed),
        "cached": len(cached),
        "failed": failed,
        "bytes": sum(size for size in sizes if isinstance(size, int)),
        "conditions": [stated(parent, ready, plan.seen.now)],
    }


def _ready(plan: _Plan, images: int, cached: int, failed: int) -> Condition:
    gaps = plan.usage.gaps
    if gaps:
        said = [f"{name} {gaps[name]}" for name in sorted(gaps)[:_NAMED_GAPS]]
        more = f" and {len(gaps) - _NAMED_GAPS} more" if len(gaps) > _NAMED_GAPS else ""
        return Condition("Ready", FALSE, "InventoryMissing", f"nothing expires: {', '.join(said)}{more}")
    if isinstance(plan.seen.in_use, Unknown):
        return Condition("Ready", FALSE, "PodsUnknown", f"nothing expires: {plan.seen.in_use.why or 'pods unknown'}")
    if failed:
        return Condition("Ready", FALSE, "CopiesFailed", f"{failed} of {images} images cannot be cached")
    if cached < images:
        return Condition("Ready", FALSE, "Copying", "some images are not cached yet")
    return Condition("Ready", TRUE, "AllCached", "every image in use is cached")
