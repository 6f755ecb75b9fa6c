"""The CachedImage that keeps an imported image in a cluster's registry although nothing uses it."""

from collections.abc import Sequence
from typing import Any

from hooks.wanted import name_of
from kube.types import API_VERSION, CACHED_IMAGE
from kuik.local.wishes import CACHE_LABEL as IMAGE_CACHE_LABEL
from registry.reference import Reference


def retained(image: Reference, platforms: Sequence[str] = ()) -> dict[str, Any]:
    """A CachedImage with the ImageCache's label, so that stage 2 takes it for its own and keeps it, used or not."""
    text = str(image.identity)
    spec = {"image": text, "retain": True, **({"platforms": list(platforms)} if platforms else {})}
    meta = {"name": name_of(text), "labels": {IMAGE_CACHE_LABEL: "default"}}
    return {"apiVersion": API_VERSION, "kind": CACHED_IMAGE, "metadata": meta, "spec": spec}
