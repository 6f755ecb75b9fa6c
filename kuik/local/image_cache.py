"""An ImageCache among manifests: refused by field as an API server refuses it, and what counts of it in local mode."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kube.schema import validate
from kube.types import API_VERSION, IMAGE_CACHE, Object, part
from kuik.local.documents import ManifestError
from proxy.shield.settings import read_settings
from registry.settings import InvalidSettings

COUNTS = ("retention", "platforms", "refresh", "freshness", "registries")
"""The fields of its spec that mean something without a cluster."""


def checked(image_cache: Object, origin: str) -> Object:
    """The ImageCache; raises ManifestError, whose message begins with `origin`, for what is not valid."""
    for problem in _problems(image_cache):
        raise ManifestError(f"{origin}: {problem}")
    return image_cache


def spec_of(manifests: Iterable[Object]) -> Mapping[str, Any]:
    """What counts of the ImageCache that is given last; nothing where there is none."""
    found: Mapping[str, Any] = {}
    for obj in manifests:
        if obj["kind"] == IMAGE_CACHE and obj["apiVersion"] == API_VERSION:
            spec = part(obj, "spec")
            found = {name: spec[name] for name in COUNTS if name in spec}
    return found


def _problems(image_cache: Object) -> Iterator[str]:
    yield from map(str, validate(image_cache))
    try:
        read_settings(image_cache)
    except InvalidSettings as error:
        yield str(error)
