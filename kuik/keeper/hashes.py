"""When each stored blob was last found to be what its digest says, remembered over restarts."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from kube.types import format_time, parse_time
from registry.digest import Digest
from registry.manifest import Descriptor

_LONGEST = 256 * 1024 * 1024


class Hashes:
    """Moments by digest; one thread uses it."""

    def __init__(self, known: Mapping[str, datetime] | None = None) -> None:
        self._known = dict(known or {})
        self.changed = False

    def proven(self, digest: Digest, at: datetime) -> None:
        """Its bytes were right at that moment."""
        self._known[str(digest)] = at
        self.changed = True

    def forget(self, digest: Digest) -> None:
        """Nothing is known of its bytes any more."""
        self.changed |= self._known.pop(str(digest), None) is not None

    def since(self, digest: Digest, now: datetime) -> datetime | None:
        """When it was last proven; what a clock says that was ahead counts for nothing."""
        found = self._known.get(str(digest))
        return found if found is not None and found <= now else None

    def oldest(self, parts: Iterable[Descriptor], now: datetime) -> datetime | None:
        """The moment from which on each part was proven; None while one was not."""
        found = [self.since(part.digest, now) for part in parts if not part.urls]
        known = [moment for moment in found if moment is not None]
        return min(known) if known and len(known) == len(found) else None

    def forget_before(self, moment: datetime) -> None:
        """Forget what was proven before: it is due anew, if anybody still wants it."""
        before = len(self._known)
        self._known = {name: at for name, at in self._known.items() if at >= moment}
        self.changed |= len(self._known) != before

    def text(self) -> str:
        """As it is kept on the volume."""
        return json.dumps({name: format_time(at) for name, at in sorted(self._known.items())}, indent=0)

    @classmethod
    def read(cls, text: str) -> "Hashes":
        """What was kept; of what cannot be read nothing is known, so that all is hashed anew."""
        try:
            found: Any = json.loads(text) if len(text) <= _LONGEST else None
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            return cls()
        moments = ((str(name), parse_time(at)) for name, at in found.items())
        return cls({name: at for name, at in moments if at is not None})
