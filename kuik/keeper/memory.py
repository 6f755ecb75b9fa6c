"""What the keeper remembers on its volume over restarts: the sweeps so far, and when garbage was last collected.

Files are replaced whole. One that is damaged or lost costs time, never an image: the grace begins anew.
"""

from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

from kube.types import format_time, parse_time
from kuik.keeper.hashes import Hashes
from kuik.keeper.history import History
from registry.durable import locked, make_folder, storing, write_whole

_LOCK, _HISTORY, _COLLECTED, _GARBAGE = "keeper.lock", "sweeps.json", "collected-at", "garbage"
_HASHES = "hashes.json"


class Memory:
    """The files of one volume's keeper in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held = ExitStack()
        self._ours = False

    def own(self) -> bool:
        """Be the one keeper of this volume, as long as this process lives; False while another one is."""
        if self._ours:
            return True
        with storing("the keeper's memory"):
            make_folder(self._folder)
        try:
            self._held.enter_context(locked(self._folder / _LOCK, exclusive=True, wait=False))
        except BlockingIOError:
            return False
        self._ours = True
        return True

    def history(self) -> History:
        """The sweeps so far."""
        return History.read(_read(self._folder / _HISTORY))

    def keep(self, history: History) -> None:
        """Remember these sweeps; raises RegistryError where the volume takes nothing."""
        self._write(_HISTORY, history.text())

    def hashes(self) -> Hashes:
        """When each blob was last proven."""
        return Hashes.read(_read(self._folder / _HASHES))

    def keep_hashes(self, hashes: Hashes) -> None:
        """Remember these proofs; raises RegistryError where the volume takes nothing."""
        self._write(_HASHES, hashes.text())

    def collected_at(self) -> datetime | None:
        """When garbage was last collected."""
        return parse_time(_read(self._folder / _COLLECTED).strip())

    def collected(self, at: datetime) -> None:
        """Remember that garbage was collected; raises RegistryError where the volume takes nothing."""
        self._write(_COLLECTED, format_time(at))
        with storing("the keeper's memory"):
            (self._folder / _GARBAGE).unlink(missing_ok=True)

    @property
    def garbage(self) -> bool:
        """Whether something was removed that is not collected yet."""
        return (self._folder / _GARBAGE).exists()

    def litter(self) -> None:
        """Remember that something is about to be removed: whoever comes after a kill collects it."""
        if not self.garbage:
            self._write(_GARBAGE, "")

    def _write(self, name: str, text: str) -> None:
        with storing("the keeper's memory"):
            make_folder(self._folder)
            write_whole(self._folder / name, text.encode())


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
