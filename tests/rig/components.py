"""Proxy and shield as processes of their own, as they run in a cluster."""

import http.client
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.rig.numbers import Numbers
from tests.rig.processes import free_port, listening, stop, wait_until

ROOT = Path(__file__).parents[2]
TOKEN = "a-token-for-tests"
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}


@dataclass
class Reply:
    """One HTTP answer, read to its end."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


class NotStarted(AssertionError):
    """The process does not listen; the message has the end of its log."""


@dataclass
class Component:
    """`python -m MODULE` on a loopback port that stays the same over `stop()`, `kill()` and `start()`."""

    module: str
    options: list[str]
    log: Path
    port: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes] | None" = None
    environment: dict[str, str] = field(default_factory=dict)
    telemetry_port: int = field(default_factory=free_port)

    @property
    def _told(self) -> list[str]:
        return ["--telemetry", f"127.0.0.1:{self.telemetry_port}"]

    def _listens(self) -> bool:
        return listening(self.port) and listening(self.telemetry_port)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    def start(self) -> Self:
        command = [sys.executable, "-m", self.module, "--listen", self.host, *self._told, *self.options]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdout=log,
                stderr=log,
                env=os.environ | {"KUIK_TOKEN": TOKEN} | self.environment,
                start_new_session=True,
            )
        try:
            wait_until(self._listens, f"{self.module} listens", 30)
        except AssertionError as error:
            self.stop()
            raise NotStarted(f"{error}; its log ends:\n{self.log.read_text(errors='replace')[-2000:]}") from None
        return self

    def stop(self) -> None:
        if self.process:
            stop(self.process)
            self.process = None

    def kill(self) -> None:
        """SIGKILL, to the worker too: the process group is this component's own."""
        assert self.process
        os.killpg(self.process.pid, 9)
        self.process.wait(10)
        self.process = None
        wait_until(lambda: not listening(self.port), f"{self.module} is dead")

    def tells(self, page: str) -> Reply:
        """What its telemetry listener answers."""
        return self.get(page, port=self.telemetry_port)

    def numbers(self) -> Numbers:
        """Its metrics now."""
        return Numbers.parse(self.tells("/metrics").body.decode())

    def get(
        self, path: str, headers: dict[str, str] | None = None, method: str = "GET", port: int | None = None
    ) -> Reply:
        """Ask it something; raises http.client.IncompleteRead when the body breaks off."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=30)
        try:
            connection.request(method, path, headers=headers or {})
            response = connection.getresponse()
            return Reply(response.status, response.headers, response.read())
        finally:
            connection.close()

    def image(self, reference: str) -> str:
        """The name under which an image of a registry is pulled here."""
        host, _, rest = reference.partition("/")
        return f"{self.host}/{host.replace(':', '__')}/{rest}"


def shield(folder: Path, *options: str) -> Component:
    folder.mkdir(parents=True, exist_ok=True)
    return Component("proxy.shield", ["--spool", str(folder / "spool"), *options], folder / "shield.log")


def proxy(folder: Path, *options: str) -> Component:
    folder.mkdir(parents=True, exist_ok=True)
    return Component("proxy", list(options), folder / "proxy.log")


def hooks(folder: Path, environment: dict[str, str] | None = None) -> Component:
    return Component("hooks", ["--log-level", "debug"], folder / "hooks.log", environment=environment or {})
