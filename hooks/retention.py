"""How long an image stays after its last use."""

from datetime import datetime, timedelta

from kube.types import Object, parse_time

DEFAULT_RETENTION = "30d"


def remaining(spec: Object, retention: timedelta, now: datetime) -> float | None:
    """Seconds until an unused CachedImage expires (0 or less: it has); None where nothing tells since when."""
    since = parse_time(spec.get("unusedSince"))
    return None if since is None else (since - now + retention).total_seconds()
