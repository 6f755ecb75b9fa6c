"""What the person who started local mode asked for, and what is not done for a reason."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hooks.retention import DEFAULT_RETENTION
from kube.types import API_VERSION, IMAGE_CACHE, Object

CACHE_LABEL = "kuik.dev/image-cache"


@dataclass(frozen=True)
class Wishes:
    """What the person who started local mode asked for.

    No platforms means all; `retention` is as in an ImageCache. What is not said here an ImageCache among the manifests
    may say. `frozen` is the reason why nothing may expire, if so.
    """

    retention: str = ""
    platforms: tuple[str, ...] = ()
    plain_http: frozenset[str] = frozenset()
    frozen: str = ""
    parallel: int = 3

    def image_cache(self, written: Mapping[str, Any]) -> Object:
        """The ImageCache that a cluster's git would hold for this, with the spec `written` in the manifests."""
        spec = {"retention": DEFAULT_RETENTION, "platforms": [], **written}
        spec |= {"retention": self.retention} if self.retention else {}
        spec |= {"platforms": list(self.platforms)} if self.platforms else {}
        spec |= {"copies": {"concurrency": self.parallel}, "selector": {"matchLabels": {CACHE_LABEL: "default"}}}
        return {"apiVersion": API_VERSION, "kind": IMAGE_CACHE, "metadata": {"name": "default"}, "spec": spec}


@dataclass(frozen=True, order=True)
class LeftAlone:
    """An image that is not cached, the rule that says so in a word and a sentence, and the workloads that use it."""

    image: str
    rule: str
    message: str
    used_by: tuple[str, ...]

    @property
    def is_mistake(self) -> bool:
        """Whether this is nobody's wish: no image has such a name."""
        return self.rule == "InvalidReference"
