"""CNCF distribution 3 as kuik runs it: a writer and readers on the same storage; and its pull-through mode, a peer.

storage = Filesystem(str(tmp_path / "storage"))
with writer(tmp_path / "writer", storage) as registry, reader(tmp_path / "reader", storage) as copies: ...
with pull_through(tmp_path / "peer", upstream.host) as peer: ...
"""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from kuik.keeper import distribution
from kuik.keeper.distribution import Filesystem, Listener, ObjectStorage
from tests.rig.built import program
from tests.rig.processes import free_port, listening, stop, wait_until

READERS_TOKEN = "a-token-that-readers-of-the-registry-show"
WRITERS_TOKEN = "a-token-that-copies-show-to-the-registry"
QUIET = {"version": 0.1, "log": {"level": "info", "accesslog": {"disabled": False}}}


@dataclass
class Distribution:
    """One process on a loopback port that stays the same over `stop()`, `kill()` and `start()`."""

    folder: Path
    document: Mapping[str, Any]
    port: int
    environment: Mapping[str, str] = field(default_factory=dict)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    @property
    def log(self) -> Path:
        return self.folder / "registry.log"

    def start(self, *, wait: bool = True) -> Self:
        """Start it; with `wait` return when it listens."""
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "config.yaml"
        config.write_text(distribution.text(self.document))
        environment = {**distribution.environment("a-secret-of-the-rig"), **os.environ, **self.environment}
        with self.log.open("ab") as log:
            command = [program("registry"), "serve", str(config)]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        if wait:
            wait_until(self._listens, "distribution listens")
        return self

    def stop(self) -> None:
        if self.process:
            stop(self.process)
            self.process = None

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process
        self.process.kill()
        self.process.wait(10)
        self.process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _listens(self) -> bool:
        assert self.process
        assert self.process.poll() is None, self.log.read_text(errors="replace")[-2000:]
        return listening(self.port)


def writer(
    folder: Path, storage: Filesystem | ObjectStorage, environment: Mapping[str, str] | None = None
) -> Distribution:
    """The process that takes copies, from who knows WRITERS_TOKEN."""
    listener, port = _listener(folder, WRITERS_TOKEN)
    return Distribution(folder, distribution.writer(storage, listener), port, environment or {})


def reader(
    folder: Path, storage: Filesystem | ObjectStorage, environment: Mapping[str, str] | None = None
) -> Distribution:
    """A process that answers proxies which know READERS_TOKEN."""
    listener, port = _listener(folder, READERS_TOKEN)
    return Distribution(folder, distribution.reader(storage, listener), port, environment or {})


def public(folder: Path) -> Distribution:
    """A registry that anyone may read and write, such as an upstream of today."""
    port = free_port()
    storage = {"filesystem": {"rootdirectory": str(folder / "storage")}, "delete": {"enabled": True}}
    http = {"addr": f"127.0.0.1:{port}", "relativeurls": True}
    return Distribution(folder, {**QUIET, "storage": storage, "http": http}, port)


def pull_through(folder: Path, upstream: str) -> Distribution:
    """Distribution's own cache of one registry (`host:port`, plain HTTP); it ends at start where that is away."""
    port = free_port()
    storage = {"filesystem": {"rootdirectory": str(folder / "storage")}, "delete": {"enabled": True}}
    http = {"addr": f"127.0.0.1:{port}", "secret": "a-secret-of-the-rig"}
    document = {**QUIET, "storage": storage, "http": http, "proxy": {"remoteurl": f"http://{upstream}"}}
    return Distribution(folder, document, port)


def _listener(folder: Path, token: str) -> tuple[Listener, int]:
    folder.mkdir(parents=True, exist_ok=True)
    known = folder / "htpasswd"
    known.write_text(distribution.passwords({distribution.USER: token}))
    port = free_port()
    return Listener(f"127.0.0.1:{port}", str(known)), port
