"""What the keepers say of a CachedImage, each of its own volume, joined into how the image stands.

The keeper of volume V writes the annotation `volume.kuik.dev/V`, as JSON: `at`, `digest`, `state`, `verified`,
`message`. Only what it says of the digest that the status names counts; a volume whose keeper has not spoken of it is
as the copy's result says. A copy that succeeds answers all that was wrong until then: what was found before it is not
acted on again, and what a keeper finds wrong after it is another report, with another `at`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from hooks.conditions import FALSE, TRUE, UNKNOWN, Condition, sentence
from kube.types import Object, annotations, entries, parse_time, part

PREFIX = "volume.kuik.dev/"
WHOLE = "Whole"
DAMAGED = "Damaged"
MISSING = "Missing"
HEALING = "Healing"
REMOVED = "Removed"
NOT_SAID = "Unknown"

MAX_VOLUMES = 32
_SAID = frozenset({WHOLE, DAMAGED, MISSING, HEALING, REMOVED})
_MAX_REPORT = 16 * 1024
_MAX_NAME = 63
_MAX_MESSAGE = 512
_MAX_DIGEST = 140


@dataclass(frozen=True, slots=True)
class Replica:
    """How the image stands on one volume. `at` names the report that said so; `verified` is empty where it never was.

    State NOT_SAID is as the copy's result says.
    """

    volume: str
    state: str = NOT_SAID
    digest: str = ""
    at: str = ""
    verified: str = ""
    message: str = ""
    beside: bool = False
    """Whether something that was attached to the image is to be copied again; the status does not keep it."""

    @property
    def serves(self) -> bool:
        """Whether the volume may be believed to hold the image whole."""
        return self.state in (WHOLE, NOT_SAID)

    def entry(self) -> Mapping[str, str]:
        """As the status says it."""
        said = {
            "digest": self.digest,
            "at": self.at,
            "verified": self.verified,
            "message": self.message,
        }
        return {"volume": self.volume, "state": self.state, **{name: value for name, value in said.items() if value}}

    @classmethod
    def noted(cls, entry: Object) -> Self:
        """From an entry of the observed status."""
        fields = ("volume", "state", "digest", "at", "verified", "message")
        volume, state, digest, at, since, message = (str(entry.get(field, "")) for field in fields)
        return cls(volume, state, digest, at, since, message)


def noted(image: Object) -> tuple[Replica, ...]:
    """The replicas in the observed status."""
    return tuple(map(Replica.noted, entries(part(image, "status"), "replicas")))


def replicas(
    image: Object, known: Sequence[str], digest: str, copied: Mapping[str, str] | None = None
) -> tuple[Replica, ...]:
    """How the image with this digest stands on each volume, in order of name; empty where no keeper has ever spoken.

    `known` are the cluster's volumes; none means: those that spoke. `copied` is given where a copy has just succeeded:
    the volumes that it did not reach, and why.
    """
    said, lacking = reports(image), copied or {}
    before = {one.volume: one for one in noted(image)}
    names = sorted(known or said)[:MAX_VOLUMES]
    if not digest:  # what was never copied is gone all the same where keepers were asked to remove it
        gone = {name for name, one in said.items() if one.state == REMOVED and not one.digest}
        return tuple(said[name] if name in gone else Replica(name) for name in names if gone & set(names))
    if not (said.keys() | lacking.keys() | before.keys()) & set(names):
        return ()
    found = (_replica(name, said.get(name), before.get(name), digest) for name in names)
    if copied is None:
        return tuple(found)
    return tuple(_after_copy(one, digest, lacking.get(one.volume, "")) for one in found)


def found_whole(image: Object, known: Sequence[str]) -> str:
    """The digest that the keepers found whole under the image's tag; empty where none did.

    It tells of an image that was copied for an earlier CachedImage of the same name. Where volumes differ the latest
    report counts.
    """
    said = [one for name, one in reports(image).items() if one.state == WHOLE and (not known or name in known)]
    return max(said, key=lambda one: (parse_time(one.at), one.volume)).digest if said else ""


def reports(image: Object) -> Mapping[str, Replica]:
    """What the keepers' annotations say, by volume; what cannot be read says nothing."""
    found = ((name.removeprefix(PREFIX), text) for name, text in annotations(image).items() if name.startswith(PREFIX))
    read = ((name, _report(name, text)) for name, text in found)
    return {name: report for name, report in read if report}


def lacks_attached(image: Object, found: Sequence[Replica]) -> bool:
    """Whether a volume has just said that it lost something that was attached to the image: each report counts once."""
    seen = {(one.volume, one.at) for one in noted(image)}
    return any(one.beside and (one.volume, one.at) not in seen for one in found)


def lost(found: Sequence[Replica]) -> str:
    """Why no volume holds the image, empty where one may: REMOVED, `Corrupt` or `Missing`."""
    if not found or any(one.serves for one in found):
        return ""
    states = {one.state for one in found}
    if states == {REMOVED}:
        return REMOVED
    return "Corrupt" if states & {DAMAGED, HEALING} else MISSING


def told(found: Sequence[Replica]) -> str:
    """What is wrong where, as a sentence."""
    return sentence("; ".join(f"{one.volume}: {one.message or one.state}" for one in found if not one.serves))


def verified(found: Sequence[Replica], *, cached: bool) -> tuple[Condition, str]:
    """Condition Verified, and the moment from which on every volume was verified (empty where it is not True)."""
    bad = [one for one in found if one.state in (DAMAGED, HEALING)]
    if bad:
        named = ", ".join(f"{one.volume}: {one.message or one.state}" for one in bad)
        reason = DAMAGED if any(one.state == DAMAGED for one in bad) else HEALING
        return Condition("Verified", FALSE, reason, named), ""
    away = [one.volume for one in found if not one.serves]
    if away or not cached:
        where = f" on {', '.join(away)}" if away else ""
        return Condition("Verified", UNKNOWN, "NotEverywhere", f"the image is not{where or ' cached'}"), ""
    waiting = [one.volume for one in found if not one.verified or one.state != WHOLE]
    if waiting:
        return Condition("Verified", UNKNOWN, "NotVerifiedYet", f"not re-hashed yet on {', '.join(waiting)}"), ""
    oldest = min((one.verified for one in found), key=lambda text: (parse_time(text) is not None, parse_time(text)))
    return Condition(
        "Verified", TRUE, "Verified", f"every byte was what its digest says, the last time {oldest}"
    ), oldest


def _replica(name: str, said: Replica | None, before: Replica | None, digest: str) -> Replica:
    same = before if before is not None and before.digest == digest else None
    if said is None or said.digest != digest:
        # What a copy did not bring there is missing until its keeper speaks.
        return same if same and not same.at else Replica(name)
    if same and same.at == said.at and same.state == NOT_SAID:
        return same  # a copy has answered this report
    return said


def _after_copy(one: Replica, digest: str, lacking: str) -> Replica:
    """What was wrong before a copy that succeeded is not known to be wrong any more."""
    if lacking and one.state != WHOLE:
        return Replica(one.volume, MISSING, digest, one.at, message=lacking)
    return one if one.serves else replace(one, state=NOT_SAID, verified="", message="")


def _report(name: str, text: Any) -> Replica | None:
    if not name or len(name) > _MAX_NAME or not isinstance(text, str) or len(text) > _MAX_REPORT:
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    at, digest, state, since = (found.get(field) for field in ("at", "digest", "state", "verified"))
    if digest is None and state == REMOVED:  # of what was never copied
        digest = ""
    if not isinstance(state, str) or state not in _SAID or not parse_time(at):
        return None
    if not isinstance(digest, str) or len(digest) > _MAX_DIGEST or not (digest or state == REMOVED):
        return None
    message = sentence(found.get("message", ""))[:_MAX_MESSAGE]
    verified_at = str(since) if parse_time(since) else ""
    return Replica(name, state, digest, str(at), verified_at, message, found.get("beside") == "Lost")
