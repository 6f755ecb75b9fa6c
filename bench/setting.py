"""What every benchmark is given."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.rig.processes import find

_SMALLEST = 4096


@dataclass(frozen=True, slots=True)
class Setting:
    """A folder to work in, the share of the full size (1 is full), how often each thing is measured, and whom to tell.

    Benchmarks take as many `rounds` as they are given, ours and the peer's by turns.
    """

    folder: Path
    scale: float
    rounds: int
    say: Callable[[str], None]

    def size(self, full: int) -> int:
        """Bytes of something that has `full` bytes at full size."""
        return max(int(full * self.scale), _SMALLEST)

    @contextmanager
    def fresh(self) -> Iterator["Setting"]:
        """The same in a folder of its own, removed afterwards."""
        with TemporaryDirectory(dir=self.folder) as folder:
            yield replace(self, folder=Path(folder))


def missing(*programs: str) -> tuple[str, ...]:
    """Those of the programs that are not on this machine."""
    return tuple(program for program in programs if not find(program))
