"""Who wrote what, from the API server's audit log: every write, also one that changed nothing or was refused."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.rig.control_plane import DRIVER
from tests.scenarios.cluster import JOBS

_KUIK = (DRIVER, f"system:serviceaccount:{JOBS}:")


@dataclass
class Writes:
    """kuik's writes by resource, as far as the log has been read."""

    log: Path
    counted: Counter[str] = field(default_factory=Counter)
    _offset: int = 0

    def read(self) -> Counter[str]:
        """All of kuik's writes until now; `resource/status` for those to a status."""
        with self.log.open("rb") as file:
            file.seek(self._offset)
            text = file.read()
        whole = text.rpartition(b"\n")[0]
        self._offset += len(whole)
        self.counted.update(_ours(whole))
        return Counter(self.counted)


def _ours(lines: bytes) -> Iterator[str]:
    for line in lines.splitlines():
        if line:
            event = json.loads(line)
            about = event.get("objectRef") or {}
            if event["user"]["username"].startswith(_KUIK):
                yield "/".join(filter(None, (about.get("resource", "?"), about.get("subresource"))))
