"""How long an image stays after its last use."""

from datetime import datetime, timedelta

from kube.types import Object, parse_time

DEFAULT_RETENTION = "30d"
_SKEW = timedelta(hours=1)
"""What clocks of the hooks' replicas may differ by."""


def remaining(spec: Object, retention: timedelta, now: datetime) -> float | None:
    """Seconds until an unused CachedImage expires (0 or less: it has); None where nothing tells since when."""
    since = unused_since(spec, now)
    return None if since is None else (since - now + retention).total_seconds()


def unused_since(spec: Object, now: datetime) -> datetime | None:
    """Since when an observed spec says that nothing uses the image.

    Not believed where the same spec names users, as then somebody else wrote it, nor where it is yet to come, as after
    a clock that was ahead: the time begins anew then.
    """
    if spec.get("users") or spec.get("usedBy"):
        return None
    since = parse_time(spec.get("unusedSince"))
    return None if since is None or since > now + _SKEW else since
