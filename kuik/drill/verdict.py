"""What a drill found out of each container: what was read outweighs what the cache says of itself. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kuik.check.copies import Lack
from kuik.drill.needs import UNVERIFIED, Need
from kuik.drill.question import Said


@dataclass(frozen=True, slots=True)
class Verdict:
    """One container. `lack` is why it would not survive, `doubt` what may be wrong although it would; `read` tells that
    every byte of its image was read from the cache and is what its digest says."""

    workload: str
    container: str
    image: str
    lack: Lack | None
    doubt: Lack | None
    read: bool

    def document(self) -> dict[str, Any]:
        """As programs read it."""
        because = self.lack or self.doubt
        said = {"reason": because.reason, "message": because.message} if because else {}
        found = {"workload": self.workload, "container": self.container, "image": self.image}
        return {**found, "survives": self.lack is None, "read": self.read, **said}


def verdicts(needs: Iterable[Need], read: Mapping[str, Said]) -> list[Verdict]:
    """By what was read of each image."""
    found = []
    for one in needs:
        said = read.get(one.image) if one.read else None
        lack = one.lack or (said.lack if said else None)
        whole = said is not None and said.ends and said.lack is None
        doubt = None if lack or (whole and one.doubt and one.doubt.reason == UNVERIFIED) else one.doubt
        found.append(Verdict(one.workload, one.container, one.image, lack, doubt, whole))
    return found
