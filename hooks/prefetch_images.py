"""The images of an ImagePrefetch: what each is called where pods pull it, and what tells that a tag has moved."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from hooks.access import PRIVATE, PUBLIC_ACCESS
from hooks.containers import Obstacle, obstacle, parse
from hooks.facts import Group, Observation, Settings
from hooks.prefetch_rules import Rule
from hooks.resources import CACHE, CACHED
from hooks.wanted import name_of
from hooks.webhook import MIRROR, ON, OPT_IN
from kube.types import Object, entries, part
from registry.capability import capability
from registry.proxied import proxied
from registry.reference import InvalidReference, Reference


class Copy(Enum):
    """Whether an image's copy may still come: SETTLED ones are cached, or have failed, or nobody makes one."""

    SETTLED = "Settled"
    UNDER_WAY = "UnderWay"
    MISSING = "Missing"


@dataclass(frozen=True, slots=True)
class Image:
    """One image: its own name, the node proxy's for it (empty where that does not serve it), and its digest."""

    name: str
    at_proxy: str = ""
    digest: str = ""
    copy: Copy = Copy.SETTLED

    def called(self, *, by_proxy: bool) -> str:
        """How a pod names it."""
        return self.at_proxy if by_proxy and self.at_proxy else self.name


@dataclass(frozen=True, slots=True)
class Images:
    """All of them, in the rule's order, and those that no image can be called."""

    found: tuple[Image, ...]
    unreadable: tuple[str, ...]

    def work(self, rule: Rule) -> str:
        """Names what is to be pulled: another one means that nodes begin anew."""
        said = [[[one.name, one.digest] for one in self.found], list(rule.secrets)]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]

    def redacted(self, text: str) -> str:
        """A message with the images' own names: those at the proxy may hold what opens a private repository."""
        for one in self.found:
            if one.at_proxy:
                text = text.replace(one.at_proxy, one.name)
        return text


def cached_names(images: Iterable[str]) -> list[str]:
    """What the CachedImages of these images are called."""
    found = (parse(image) for image in images)
    return sorted({name_of(str(one.identity)) for one in found if isinstance(one, Reference)})


def images(rule: Rule, seen: Observation) -> Images:
    """What the rule's images are, as the cache has them."""
    cached = {str(part(one, "spec").get("image")): one for one in seen.related[CACHED.group].values()}
    rewrites = _rewrites(seen.related[CACHE.group])
    found: list[Image] = []
    unreadable: list[str] = []
    for text in rule.images:
        reference = parse(text)
        if isinstance(reference, Obstacle):
            unreadable.append(f"{text}: {reference.message}")
            continue
        status = part(cached.get(str(reference.identity), {}), "status")
        known = str(reference.identity) in cached
        at_proxy = _at_proxy(reference, part(status, "access"), rule, seen) if rewrites else ""
        digest = status.get("digest")
        copy = _copy(status, known=known) if seen.related[CACHE.group] else Copy.SETTLED
        found.append(Image(str(reference), at_proxy, digest if isinstance(digest, str) else "", copy))
    return Images(tuple(found), tuple(unreadable))


def _copy(status: Object, *, known: bool) -> Copy:
    if not known:
        return Copy.MISSING
    return Copy.SETTLED if any(status.get(one) for one in ("digest", "failures", "reason")) else Copy.UNDER_WAY


def _rewrites(caches: Group) -> bool:
    """Whether pods get the proxy's names, so that an image is wanted under that name."""
    specs = [part(one, "spec") for one in caches.values()]
    return any(spec.get("mode", ON) in (ON, OPT_IN) and spec.get("delivery") != MIRROR for spec in specs)


def _at_proxy(reference: Reference, access: Object, rule: Rule, seen: Observation) -> str:
    """As admission names it for a pod of the rule's namespace with the rule's pull secrets."""
    if obstacle(reference, {}, seen.settings):
        return ""
    opened = ""
    if access.get("visibility") == PRIVATE and seen.key and _proven(access, rule):
        opened = capability(seen.key, reference)
    elif access.get("visibility") != PUBLIC_ACCESS:
        return ""
    return _named(reference, seen.settings, opened)


def _named(reference: Reference, settings: Settings, opened: str) -> str:
    try:
        return str(proxied(reference, settings.proxy, opened))
    except InvalidReference:
        return ""


def _proven(access: Mapping[str, Any], rule: Rule) -> bool:
    """Whether one of the rule's secrets is proven to open the repository."""
    proven = {(one.get("namespace"), one.get("secret")) for one in entries(access, "secrets")}
    return any((rule.namespace, name) in proven for name in rule.secrets)
