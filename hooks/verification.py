"""The keeper's report on a CachedImage: whether its bytes were found whole (annotation `kuik.dev/verified`)."""

import json
from dataclasses import dataclass
from typing import Self

from hooks.conditions import sentence
from kube.types import Object, annotations, parse_time, part

VERIFIED = "kuik.dev/verified"
_MAX_REPORT = 16 * 1024


@dataclass(frozen=True, slots=True)
class Report:
    """What the keeper found when it re-hashed the image with this digest; `at` names the report."""

    at: str
    ok: bool
    digest: str
    message: str

    @classmethod
    def read(cls, image: Object) -> Self | None:
        """The report on the digest that the status names; None where there is none, or none that can be read."""
        text = annotations(image).get(VERIFIED)
        if not isinstance(text, str) or len(text) > _MAX_REPORT:
            return None
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            return None
        if not isinstance(found, dict) or not isinstance(found.get("ok"), bool) or not parse_time(found.get("at")):
            return None
        if not found.get("digest") or found["digest"] != part(image, "status").get("digest"):
            return None
        return cls(found["at"], found["ok"], found["digest"], sentence(found.get("message", "")))
