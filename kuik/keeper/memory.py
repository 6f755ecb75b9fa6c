"""What the keeper remembers on its volume over restarts: the sweeps so far, and when garbage was last collected.

Files are replaced whole. One that is damaged or lost costs time, never an image: the grace begins anew. What the volume
does not take, as it is full, is remembered by this process alone, since it is sweeps and collections that make room.
"""

import logging
import threading
from datetime import datetime
from pathlib import Path

from kube.types import format_time, parse_time
from kuik.keeper.hashes import Hashes
from kuik.keeper.history import History
from kuik.keeper.owner import Owner
from registry.durable import make_folder, storing, write_whole
from registry.errors import RegistryError

_log = logging.getLogger("kuik.keeper")
_HISTORY, _COLLECTED, _GARBAGE, _HASHES = "sweeps.json", "collected-at", "garbage", "hashes.json"


class Memory:
    """The files of one volume's keeper in `folder`; for several threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._owner = Owner(folder)
        self._unwritten: dict[str, str] = {}
        self._told = False
        self._guard = threading.RLock()

    def own(self) -> bool:
        """Be the one keeper of this volume, as long as this process lives; False while another one is."""
        return self._owner.own()

    def release(self) -> None:
        """Let another keeper have this volume."""
        self._owner.release()

    def history(self) -> History:
        """The sweeps so far."""
        return History.read(self._read(_HISTORY))

    def keep(self, history: History) -> None:
        """Remember these sweeps."""
        self._write(_HISTORY, history.text())

    def hashes(self) -> Hashes:
        """When each blob was last proven."""
        return Hashes.read(self._read(_HASHES))

    def keep_hashes(self, hashes: Hashes) -> None:
        """Remember these proofs."""
        self._write(_HASHES, hashes.text())

    def collected_at(self) -> datetime | None:
        """When garbage was last collected."""
        return parse_time(self._read(_COLLECTED).strip())

    def collected(self, at: datetime) -> None:
        """Remember that garbage was collected; raises RegistryError where it cannot be told any more that it was."""
        self._write(_COLLECTED, format_time(at))
        with self._guard, storing("the keeper's memory"):
            self._unwritten.pop(_GARBAGE, None)
            (self._folder / _GARBAGE).unlink(missing_ok=True)

    @property
    def garbage(self) -> bool:
        """Whether something was removed that is not collected yet."""
        return _GARBAGE in self._unwritten or (self._folder / _GARBAGE).exists()

    def litter(self) -> None:
        """Remember that something is about to be removed: whoever comes after a kill collects it."""
        if not self.garbage:
            self._write(_GARBAGE, "")

    def _read(self, name: str) -> str:
        with self._guard:
            if name in self._unwritten:
                return self._unwritten[name]
            try:
                return (self._folder / name).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError):
                return ""

    def _write(self, name: str, text: str) -> None:
        with self._guard:
            self._unwritten[name] = text
            why = ""
            for one in list(self._unwritten):
                try:
                    self._put(one, self._unwritten[one])
                    del self._unwritten[one]
                except RegistryError as error:
                    why = str(error)
            if why and not self._told:
                _log.warning("%s: it is kept in this process alone, and the next one begins anew", why)
            elif self._told and not why:
                _log.info("the keeper's memory is on its volume again")
            self._told = bool(why)

    def _put(self, name: str, text: str) -> None:
        """Write a file; what was in it goes where that fails, as it is true no more."""
        path = self._folder / name
        with storing("the keeper's memory"):
            make_folder(self._folder)
            try:
                write_whole(path, text.encode())
            except OSError:
                path.unlink(missing_ok=True)  # which may be the very room that is needed
                write_whole(path, text.encode())
