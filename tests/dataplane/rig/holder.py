"""The cluster's registry as one thing to start and to kill: distribution's writer and a reader, on a folder."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Self

from kuik.keeper.distribution import Filesystem
from registry.own_registry import TOKEN
from tests.dataplane.rig.distribution import READERS_TOKEN, WRITERS_TOKEN, Distribution, reader, writer
from tests.rig import components
from tests.rig.components import Component

READS = {TOKEN: READERS_TOKEN}
"""The environment of who reads it."""


class Holder:
    """`host` is the reader's, which proxies ask; copies go to the writer."""

    def __init__(self, folder: Path) -> None:
        self.storage = folder / "storage"
        place = Filesystem(str(self.storage))
        self._writer, self._reader = writer(folder / "writer", place), reader(folder / "reader", place)

    @property
    def host(self) -> str:
        return self._reader.host

    @property
    def url(self) -> str:
        return self._reader.url

    def start(self) -> Self:
        for process in self._processes:
            process.start()
        return self

    def stop(self) -> None:
        for process in self._processes:
            process.stop()

    def kill(self) -> None:
        """SIGKILL to both."""
        for process in self._processes:
            process.kill()

    def copy(self, image: str, source: Component) -> dict[str, str]:
        """Run the copy Job program for an image, from a shield to here; its result."""
        command = [sys.executable, "-m", "kuik.copy_job", "--image", image]
        command += ["--source", source.url, "--target", self._writer.url]
        environment = os.environ | {"KUIK_TOKEN": components.TOKEN, TOKEN: WRITERS_TOKEN}
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
        assert done.stdout, done.stderr
        result: dict[str, str] = json.loads(done.stdout)
        return result

    @property
    def _processes(self) -> tuple[Distribution, Distribution]:
        return self._writer, self._reader
