"""A disk that gets full: a small tmpfs."""

import subprocess
from pathlib import Path


class SmallDisk:
    """A disk of `size` bytes at `folder`, until it is closed. Mounting needs root.

    With `files` it holds no more than so many, and is full when it has them.
    """

    def __init__(self, folder: Path, size: int, files: int = 0) -> None:
        self._folder = folder
        self._files = files
        folder.mkdir(parents=True, exist_ok=True)
        options = f"size={size},nr_inodes={files}" if files else f"size={size}"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "kuik-tests", str(folder)], check=True)

    def fill(self) -> None:
        """Leave no room."""
        self._fill_with_bytes()
        for number in range(self._files):
            try:
                (self._folder / f"filler-{number}").touch()
            except OSError:
                return

    def _fill_with_bytes(self) -> None:
        with (self._folder / "filler").open("wb", buffering=0) as filler:
            try:
                while filler.write(b"\0" * 65536):
                    pass
            except OSError:
                return

    def free(self) -> None:
        """Take back what `fill` took."""
        for filler in self._folder.glob("filler*"):
            filler.unlink()

    def close(self) -> None:
        subprocess.run(["umount", "-l", str(self._folder)], check=True)
