"""What comes of a cluster's objects: the images that are kept and on which terms, and which containers are rewritten.

The stages that a cluster runs decide, over the objects in memory: inventories first, then the ImageCache's.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from hooks.facts import Settings
from hooks.last_look import all_in_use
from hooks.quotas import Account
from hooks.resources import POD, POLICY
from hooks.rules import CACHE
from hooks.workloads import TEMPLATES
from kube.schema import defaulted
from kube.types import (
    API_VERSION,
    CACHED_IMAGE,
    CLUSTER_CACHE_POLICY,
    IMAGE_CACHE,
    IMAGE_INVENTORY,
    IMAGE_PREFETCH,
    Key,
    Object,
    entries,
    metadata,
    part,
)
from kuik.driver.apply import remembering
from kuik.driver.controllers import load
from kuik.driver.loop import Driver
from kuik.driver.objects import Objects
from kuik.driver.troubles import SyncsFailed
from kuik.local.hooks import LocalHooks
from kuik.plan.installed import settings_of
from kuik.plan.rewriting import Container, verdicts
from kuik.plan.room import Prefetch, prefetch, quotas


class CannotTell(ValueError):
    """The stages cannot make anything of these objects; the message says of which."""


@dataclass(frozen=True, slots=True)
class Kept:
    """An image as it is kept. `unused_since` is empty while it is used; `size` is None where nobody knows it yet."""

    image: str
    retention: str
    refresh: str
    platforms: tuple[str, ...]
    users: tuple[str, ...]
    referrers: bool = False
    unused_since: str = ""
    hold: str = ""
    """Why it is not copied, where it is held back."""
    leaves: str = ""
    """Why it leaves before its retention is over, where it does."""
    size: int | None = None
    cached: bool = False

    @property
    def terms(self) -> Mapping[str, str]:
        """How it is kept, in words."""
        return {
            "retention": self.retention,
            "refresh": self.refresh,
            "platforms": ", ".join(self.platforms) or "all",
            "referrers": "kept" if self.referrers else "not kept",
        }


@dataclass(frozen=True)
class Outcome:
    """The images that are kept, by name; what is decided of each in each namespace; what becomes of containers."""

    kept: Mapping[str, Kept]
    decided: Mapping[tuple[str, str], Object]
    containers: Mapping[tuple[str, str, str], Container]
    images: tuple[Object, ...] = ()
    """The CachedImages themselves, without an owner: what a later outcome begins with."""
    quotas: Mapping[str, Account] = field(default_factory=dict)
    """What the namespaces with a quota have."""
    prefetches: Mapping[str, Prefetch] = field(default_factory=dict)
    """What is pulled onto nodes, by the names of the ImagePrefetches."""


def outcome(objects: Iterable[Object], settings: Settings | None = None) -> Outcome:
    """What the stages make of these objects; raises CannotTell."""
    objects = list(objects)
    settings = settings or settings_of(objects)
    store = Objects(_now)
    for obj in objects:
        store.put(_remembered(obj) if obj["kind"] == CACHED_IMAGE else obj)
    cache = Key(API_VERSION, IMAGE_CACHE, "", "default")
    if store.get(cache) is None:
        store.put(
            defaulted({"apiVersion": API_VERSION, "kind": IMAGE_CACHE, "metadata": {"name": "default"}, "spec": {}})
        )
    stages = [one for one in load() if one.stage in ("inventory", "imagecache")]
    try:
        Driver(store, stages, LocalHooks(settings, look=lambda: _in_use(store, settings)), _now).settle()
    except SyncsFailed as error:
        raise CannotTell(str(error)) from error
    inventories = list(store.list(API_VERSION, IMAGE_INVENTORY))
    images = list(store.list(API_VERSION, CACHED_IMAGE))
    decided = {
        (str(part(inventory, "spec")["namespace"]), str(entry["image"])): entry
        for inventory in inventories
        for entry in entries(part(inventory, "spec"), "images")
    }
    kept = {one.image: one for one in map(_kept, images)}
    return Outcome(
        kept,
        decided,
        verdicts(store, store.get(cache) or {}, images, settings),
        tuple(map(_unowned, images)),
        _quotas(store, decided, images),
        _prefetches(store, settings, kept),
    )


def _in_use(store: Objects, settings: Settings) -> frozenset[str]:
    """What a cluster looks at before anything expires: pods that are left out need their images, too."""
    resources = {one.kind: one for one in (POLICY, POD, *TEMPLATES)}
    return all_in_use(lambda kind: store.list(resources[kind].api_version, kind), settings.proxy)


def _quotas(store: Objects, decided: Mapping[tuple[str, str], Object], images: list[Object]) -> Mapping[str, Account]:
    users: defaultdict[str, set[str]] = defaultdict(set)
    for (namespace, image), entry in decided.items():
        if entry.get("decision") == CACHE:
            users[image].add(namespace)
    namespaces, policies = store.list("v1", "Namespace"), store.list(API_VERSION, CLUSTER_CACHE_POLICY)
    return quotas(namespaces, policies, images, users)


def _prefetches(store: Objects, settings: Settings, kept: Mapping[str, Kept]) -> Mapping[str, Prefetch]:
    nodes = list(store.list("v1", "Node")) or None  # every cluster has some: without, nobody could see them
    sizes = {name: one.size for name, one in kept.items()}
    made = store.list(API_VERSION, IMAGE_PREFETCH)
    return {str(metadata(one)["name"]): prefetch(one, settings.job.namespace, nodes, sizes) for one in made}


def _remembered(image: Object) -> Object:
    """The CachedImage as stage 2 wrote it, so that what it does not say any more goes; `retain` is people's."""
    spec = {name: value for name, value in part(image, "spec").items() if name != "retain"}
    return remembering(image, {"metadata": {}, "spec": spec})


def _unowned(image: Object) -> Object:
    meta = {name: value for name, value in metadata(image).items() if name != "ownerReferences"}
    return {**image, "metadata": meta}


def _kept(image: Object) -> Kept:
    spec, status = part(image, "spec"), part(image, "status")
    refresh, size = part(spec, "refresh"), status.get("size")
    users: list[Any] = spec.get("usedBy") or []
    return Kept(
        image=str(spec["image"]),
        retention=str(spec.get("retention", "")),
        refresh=f"{refresh.get('mode', 'Sync')} every {refresh.get('interval', '1h')}",
        platforms=tuple(spec.get("platforms") or ()),
        users=tuple(map(str, users)),
        referrers=spec.get("referrers") is True,
        hold=str(part(spec, "hold").get("message", "")),
        leaves=str(spec.get("remove") or ""),
        unused_since="" if spec.get("retain") is True else str(spec.get("unusedSince", "")),
        size=size if isinstance(size, int) else None,
        cached=bool(status.get("digest")) and status.get("phase") != "Failed",
    )


def _now() -> datetime:
    return datetime.now(UTC)
