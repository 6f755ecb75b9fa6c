"""A server of the S3 protocol on loopback: versitygw over a folder, with a bucket for the registry."""

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from kuik.keeper.distribution import ObjectStorage
from tests.rig.built import program
from tests.rig.processes import free_port, listening, stop, wait_until

BUCKET = "images"
_USER, _PASSWORD = "rig", "a-key-of-the-rig"


@dataclass
class ObjectServer:
    """Its `port` stays the same over `stop()` and `start()`; the bucket is a folder of its folder."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def keys(self) -> dict[str, str]:
        """What a program that uses the bucket finds in its environment."""
        return {"AWS_ACCESS_KEY_ID": _USER, "AWS_SECRET_ACCESS_KEY": _PASSWORD}

    def storage(self, *, redirect: bool = True) -> ObjectStorage:
        return ObjectStorage(BUCKET, endpoint=self.url, redirect=redirect)

    def start(self) -> Self:
        (self.folder / "objects" / BUCKET).mkdir(parents=True, exist_ok=True)
        command = [program("versitygw"), "--port", f"127.0.0.1:{self.port}", "--access-log", str(self.log)]
        environment = os.environ | {"ROOT_ACCESS_KEY": _USER, "ROOT_SECRET_KEY": _PASSWORD}
        with (self.folder / "versitygw.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "posix", str(self.folder / "objects")], stdout=log, stderr=log, env=environment
            )
        wait_until(lambda: listening(self.port), "versitygw listens")
        return self

    def stop(self) -> None:
        if self.process:
            stop(self.process)
            self.process = None

    @property
    def log(self) -> Path:
        """A line for every request."""
        return self.folder / "access.log"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
