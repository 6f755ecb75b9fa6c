"""What the person who started local mode asked for, and what is not done for a reason."""

from dataclasses import dataclass

from kube.types import API_VERSION, IMAGE_CACHE, Object

CACHE_LABEL = "kuik.dev/image-cache"


@dataclass(frozen=True)
class Wishes:
    """What the person who started local mode asked for.

    No platforms means all; `retention` is as in an ImageCache; `frozen` is the reason why nothing may expire, if so.
    """

    retention: str = "30d"
    platforms: tuple[str, ...] = ()
    plain_http: frozenset[str] = frozenset()
    frozen: str = ""
    parallel: int = 3

    def image_cache(self) -> Object:
        """The ImageCache that a cluster's git would hold for this."""
        return {
            "apiVersion": API_VERSION,
            "kind": IMAGE_CACHE,
            "metadata": {"name": "default"},
            "spec": {
                "selector": {"matchLabels": {CACHE_LABEL: "default"}},
                "retention": self.retention,
                "platforms": list(self.platforms),
                "copies": {"concurrency": self.parallel},
            },
        }


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
