"""A serving process that ends with the one that started it."""

import os
import signal
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self


class Child:
    """A `python -m ...` process that is told the number of its `lifeline` and follows it (kuik.lifeline).

    A context manager that ends it; when this process is gone without that, the lifeline closes and does the same.
    What it says on standard error goes to `log` where one is given.
    """

    def __init__(self, log: Path | None = None) -> None:
        self.lifeline, self._ours = os.pipe()
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def start(self, command: Sequence[str], descriptors: Collection[int], environment: Mapping[str, str]) -> Self:
        """Run `python -m COMMAND...` with these open files and additions to the environment."""
        with ExitStack() as stack:
            log = stack.enter_context(self._log.open("ab")) if self._log else None
            self._process = subprocess.Popen(
                [sys.executable, "-m", *command],
                pass_fds=(*descriptors, self.lifeline),
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
                start_new_session=True,  # Ctrl-C is for the parent, which then ends this one in order
                stdin=subprocess.DEVNULL,
                stderr=log,
            )
        os.close(self.lifeline)
        return self

    @property
    def ended(self) -> int | None:
        """The exit status if the process is not there any more."""
        return self._process.poll() if self._process else None

    def close(self) -> None:
        """End the process, after the transfers that are under way or ten seconds."""
        if self._closed:
            return
        self._closed = True
        os.close(self._ours)
        if self._process is None:
            os.close(self.lifeline)
            return
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
