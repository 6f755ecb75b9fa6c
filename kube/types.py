"""Plain API objects (parsed JSON) and what kuik reads from any of them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

Object = Mapping[str, Any]
"""One API object as parsed JSON; whoever is handed one does not change it."""

GROUP = "kuik.dev"
API_VERSION = f"{GROUP}/v1alpha1"
IMAGE_CACHE = "ImageCache"
IMAGE_INVENTORY = "ImageInventory"
CACHED_IMAGE = "CachedImage"
CLUSTER_CACHE_POLICY = "ClusterCachePolicy"
CACHE_POLICY = "CachePolicy"
IMAGE_PREFETCH = "ImagePrefetch"

CACHE_LABEL = f"{GROUP}/cache"
"""On a pod or a namespace: "false" opts out; "true" on a pod is stronger than its namespace."""

MODE_LABEL = f"{GROUP}/mode"
"""On a namespace: Off, Audit, OptIn or On, where it differs from the ImageCache's mode."""

_EMPTY: Mapping[str, Any] = {}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)")


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """What names an object. `namespace` is empty for cluster-scoped ones."""

    api_version: str
    kind: str
    namespace: str
    name: str

    @classmethod
    def of(cls, obj: Object) -> Self:
        """The key of an object that has apiVersion, kind and metadata.name; raises KeyError."""
        meta = obj["metadata"]
        return cls(obj["apiVersion"], obj["kind"], meta.get("namespace", ""), meta["name"])


def group_key(api_version: str, kind: str) -> str:
    """How Metacontroller names a kind in its requests: `Job.batch/v1`, `Pod.v1`."""
    return f"{kind}.{api_version}"


def metadata(obj: Object) -> Object:
    """The object's metadata, empty where there is none."""
    return part(obj, "metadata")


def part(obj: Object, field: str) -> Object:
    """A field that holds an object; empty where it is absent, null or something else."""
    value = obj.get(field)
    # Parsed JSON holds nothing but dicts; asking an abstract class of each costs more than all else here.
    return value if type(value) is dict or isinstance(value, Mapping) else _EMPTY


def entries(obj: Object, field: str) -> list[Object]:
    """A field that holds a list of objects; what is none is left out."""
    value = obj.get(field)
    if not isinstance(value, list):
        return []
    return [entry for entry in value if type(entry) is dict or isinstance(entry, Mapping)]


def texts(obj: Object, field: str) -> list[str]:
    """A field that holds a list of strings; what is none is left out."""
    value = obj.get(field)
    return [entry for entry in value if isinstance(entry, str)] if isinstance(value, list) else []


def labels(obj: Object) -> Object:
    """The object's labels."""
    return part(metadata(obj), "labels")


def annotations(obj: Object) -> Object:
    """The object's annotations."""
    return part(metadata(obj), "annotations")


def ends(namespace: Object) -> bool:
    """Whether the Namespace is on its way out: it takes nothing new."""
    return bool(metadata(namespace).get("deletionTimestamp")) or part(namespace, "status").get("phase") == "Terminating"


def owner(obj: Object) -> Object | None:
    """The owner reference of the object's controller, where it has one."""
    return next((ref for ref in entries(metadata(obj), "ownerReferences") if ref.get("controller") is True), None)


def format_time(moment: datetime) -> str:
    """A moment as the API writes it: RFC 3339 in UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: Any) -> datetime | None:
    """A moment as the API writes it; None where the value is no such text."""
    if not isinstance(text, str) or not _TIME.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
