"""How a cluster is told that an image is to go, and how it is seen that it went.

The annotation `kuik.dev/remove` on the CachedImage tells the keepers; each says of its own volume that it has removed
the image, and stage 2 then drops the CachedImage unless something uses it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from hooks.removal import REMOVE, WISHES
from hooks.volumes import REMOVED, reports
from kube.paths import KINDS
from kube.types import CACHED_IMAGE, Object, metadata, part
from kuik.local.store import Held

if TYPE_CHECKING:
    from kube.client import Api

_TRUE, _FORCE = WISHES


def wish(api: "Api", one: Held, *, force: bool) -> None:
    """Annotate the image's CachedImage; raises KubernetesError, with status 404 where it is gone by now."""
    text = _FORCE if force else _TRUE
    path = KINDS[CACHED_IMAGE].path(str(metadata(one.cached_image or {})["name"]))
    api.patch(path, {"metadata": {"annotations": {REMOVE: text}}})


def went(image: Object | None) -> bool:
    """Whether nobody keeps the image any more, or every keeper that tells of it says that it has removed it."""
    if image is None or not part(image, "status").get("digest"):
        return True
    said = reports(image)
    return bool(said) and all(one.state == REMOVED for one in said.values())


def await_all(
    look: Callable[[], Mapping[str, Object]], names: Sequence[str], seconds: float, sleep: Callable[[float], None]
) -> list[str]:
    """Look every second until all images went; the names of those CachedImages that did not within so many seconds."""
    waited = 0.0
    while True:
        seen = look()
        left = [name for name in names if not went(seen.get(name))]
        if not left or waited >= seconds:
            return left
        sleep(1.0)
        waited += 1.0
