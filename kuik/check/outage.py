"""What admission makes of a cluster's workloads while every upstream registry is down."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from hooks.facts import Settings, Unknown
from kube.types import Object, part
from kuik.driver.objects import Objects
from kuik.plan.rewriting import KEY, Container, verdicts

NO_CACHE: Object = {"spec": {"mode": "Off"}}
"""The ImageCache of a cluster that has none."""


def in_outage(
    objects: Iterable[Object], cache: Object, images: Sequence[Object], settings: Settings
) -> Sequence[Container]:
    """Each container of the workloads among `objects`, with what would become of it were its pod made in an outage.

    Nobody finds out then any more whether an image is public.
    """
    # With delivery Mirror containerd comes to the proxies by itself, for every pod; private images have no way there.
    mirror = part(cache, "spec").get("delivery") == "Mirror"
    said, key = (None, b"") if mirror else (cache, KEY)
    return tuple(verdicts(kept(objects), said, images, settings, lambda _image: Unknown(), key).values())


def kept(objects: Iterable[Object]) -> Objects:
    """The objects as the stages read them."""
    store = Objects(lambda: datetime.now(UTC))
    for one in objects:
        store.put(one)
    return store
