"""Whether what the keeper found of an image is worth a report, after those that it made before. Pure."""

from datetime import datetime, timedelta

from hooks.volumes import NOT_SAID, REMOVED, WHOLE, Replica, noted, reports
from kube.types import Object, parse_time
from kuik.keeper.whole import Look, Subject


def was_removed(before: Replica | None, subject: Subject) -> bool:
    return before is not None and before.state == REMOVED and before.digest == str(subject.digest)


def is_answered(image: Object, volume: str) -> bool:
    """Whether a copy has answered the last report: what is still wrong is to be said again, as it helped nothing."""
    said = reports(image).get(volume)
    return said is not None and any(
        one.volume == volume and one.at == said.at and one.state == NOT_SAID for one in noted(image)
    )


def is_news(before: Replica | None, subject: Subject, found: Look, since: datetime | None, verify_every: float) -> bool:
    if before is None or before.digest != str(subject.digest) or before.state != found.state:
        return True
    if before.message != found.message[:512]:
        return True
    if found.state != WHOLE or since is None:
        return False
    earlier = parse_time(before.verified)
    return earlier is None or since - earlier > timedelta(seconds=verify_every) / 4
