"""What the keeper reads and writes in its cluster: CachedImages, the ImageCache, and annotations of its own on them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hooks.facts import Known, Unknown
from hooks.last_look import look
from kube.client import Api
from kube.events import NORMAL, WARNING, Involved, Recorder, Said
from kube.paths import KINDS
from kube.types import API_VERSION, CACHED_IMAGE, IMAGE_CACHE, Object, metadata
from kube.watch import Watch

NAME = "default"


@dataclass(frozen=True, slots=True)
class Listed:
    """The ImageCache and all CachedImages, as the API server has them now."""

    cache: Object
    images: tuple[Object, ...]


class Cluster:
    """The API server, as the keeper's service account may use it; `proxy` is the node proxies' name in images."""

    def __init__(self, api: Api, proxy: str) -> None:
        self._api = api
        self._proxy = proxy
        self._images = Watch(api, KINDS["CachedImage"], keep=_whole)
        self._caches = Watch(api, KINDS["ImageCache"], keep=_whole)
        self._events = Recorder(api)

    def start(self, patience: float) -> bool:
        """Begin to follow both kinds; whether they were read within `patience` seconds."""
        for watch in (self._caches, self._images):
            watch.start()
        return self._caches.wait(patience) and self._images.wait(patience)

    def stop(self) -> None:
        """End, when what was said is written."""
        self._events.flush(3)
        for watch in (self._caches, self._images):
            watch.stop()

    @property
    def synced(self) -> bool:
        """Whether all of it was read once."""
        return self._images.synced and self._caches.synced

    @property
    def changes(self) -> int:
        """A number that grows whenever a CachedImage changes."""
        return self._images.changes

    def images(self) -> list[Object]:
        """The CachedImages as they were last heard of."""
        return self._images.objects()

    def cache(self) -> Object | None:
        """The ImageCache as it was last heard of."""
        return self._caches.get(NAME)

    def listed(self) -> Listed | None:
        """All of it read anew; None without an ImageCache, when nothing is to be concluded. Raises KubernetesError."""
        cache = self._api.find(KINDS["ImageCache"].path(NAME))
        if cache is None:
            return None
        return Listed(cache, tuple(self._api.items(KINDS["CachedImage"].collection())))

    def in_use(self) -> Known[frozenset[str]] | Unknown:
        """The images that pods use now."""
        return look(self._api, self._proxy)

    def annotate_image(self, name: str, annotations: Mapping[str, str | None]) -> Object:
        """Set annotations of a CachedImage (None: take away), and what it is then. Raises KubernetesError."""
        return self._api.patch(KINDS["CachedImage"].path(name), _annotations(annotations))

    def annotate_cache(self, annotations: Mapping[str, str | None]) -> None:
        """Set annotations of the ImageCache; raises KubernetesError."""
        self._api.patch(KINDS["ImageCache"].path(NAME), _annotations(annotations))

    def say(self, reason: str, message: str, *, once: str, image: str = "", warning: bool = False) -> None:
        """An Event about a CachedImage, or about the ImageCache. `once` makes its name, so that it is said once."""
        kind, name = (CACHED_IMAGE, image) if image else (IMAGE_CACHE, NAME)
        known = self._images.get(image) if image else self._caches.get(NAME)
        uid = str(metadata(known or {}).get("uid", ""))
        about = Involved(API_VERSION, kind, name, uid=uid)
        said = Said(f"{name}.{once}"[:253], WARNING if warning else NORMAL, reason, message, about)
        self._events.say([said])


def _annotations(annotations: Mapping[str, str | None]) -> Mapping[str, Any]:
    return {"metadata": {"annotations": dict(annotations)}}


def _whole(obj: Object) -> Object:
    """All that decides: only who last wrote which field is left out."""
    return {**obj, "metadata": {name: value for name, value in metadata(obj).items() if name != "managedFields"}}
