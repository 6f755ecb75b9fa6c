"""Each container of the workloads, and whether it could start from the cache alone."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from hooks.rewrite import ACCESS_UNKNOWN
from kuik.check.copies import Copies, Lack
from kuik.plan.rewriting import Container
from registry.manifest import Platform
from registry.reference import InvalidReference, Reference


@dataclass(frozen=True, slots=True)
class Start:
    """One container. `lack` is why it could not start, None where it could."""

    workload: str
    container: str
    image: str
    lack: Lack | None

    def document(self) -> dict[str, Any]:
        said = {"reason": self.lack.reason, "message": self.lack.message} if self.lack else {}
        entry = {"workload": self.workload, "container": self.container, "image": self.image}
        return {**entry, "starts": self.lack is None, **said}


def starts(containers: Iterable[Container], copies: Copies, platforms: frozenset[Platform]) -> list[Start]:
    """Whether each container could start where every upstream is down, in the order of workloads.

    `platforms` are those of the nodes, none where nobody said so; a pod's node selector says more.
    """
    found = [Start(one.workload, one.name, one.image, lack_of(one, copies, platforms)) for one in containers]
    return sorted(found, key=lambda one: (one.workload, one.container, one.image))


def lack_of(one: Container, copies: Copies, platforms: frozenset[Platform]) -> Lack | None:
    """Why one container could not start on nodes of these platforms where every upstream is down."""
    if one.rewritten:
        return _lack(one, copies, platforms)
    # Of what is not in the cache nobody knows who may have it: that says less.
    missing = _lack(one, copies, platforms) if one.why == ACCESS_UNKNOWN else None
    return missing or Lack(one.why, f"it is pulled from upstream: {one.message}")


def _lack(one: Container, copies: Copies, platforms: frozenset[Platform]) -> Lack | None:
    wanted = platforms
    if one.platform:
        try:
            wanted = frozenset({Platform.parse(one.platform)})
        except ValueError:
            return Lack("InvalidPlatform", f"the node selector asks for {one.platform!r}")
    try:
        return copies.lack(Reference.parse(one.image).identity, wanted)
    except InvalidReference as error:
        return Lack("InvalidReference", str(error))
