"""A disk that gets full: a small tmpfs."""

import subprocess
from pathlib import Path


class SmallDisk:
    """A disk of `size` bytes at `folder`, until it is closed. Mounting needs root."""

    def __init__(self, folder: Path, size: int) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "kuik-tests", str(folder)], check=True)

    def fill(self) -> None:
        """Leave no room."""
        with (self._folder / "filler").open("wb", buffering=0) as filler:
            try:
                while filler.write(b"\0" * 65536):
                    pass
            except OSError:
                return

    def free(self) -> None:
        """Take back what `fill` took."""
        (self._folder / "filler").unlink(missing_ok=True)

    def close(self) -> None:
        subprocess.run(["umount", "-l", str(self._folder)], check=True)
