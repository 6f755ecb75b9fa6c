"""The pods of copy Jobs as kubelet runs them: each its own process, with the rights of its account."""

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.rig.api import Object, Refused
from tests.cluster.rig.control_plane import ControlPlane
from tests.cluster.scale.kubelet import running

ROOT = Path(__file__).parents[3]
_PAUSE = 0.15
_JOB = "batch.kubernetes.io/job-name"


@dataclass
class Copy:
    """The process of one pod; `image` is what it copies."""

    pod: Object
    image: str
    process: "subprocess.Popen[bytes]"


class CopyRunner(threading.Thread):
    """Starts the pod of every copy Job, and says of each how it ended; the Job controller does the rest.

    `environment` is what the pods' Secrets would give them.
    """

    def __init__(self, plane: ControlPlane, folder: Path, environment: Mapping[str, str]) -> None:
        super().__init__(name="copies", daemon=True)
        self._plane = plane
        self._account = folder / "account"
        self._account.mkdir(parents=True)
        token = plane.kubectl("create", "token", "-n", "kuik-system", "kuik-copy", "--duration=2h").strip()
        (self._account / "token").write_text(token)
        (self._account / "ca.crt").write_bytes(plane.api.authority.read_bytes())
        here = {"KUBERNETES_SERVICE_HOST": plane.api.address, "KUBERNETES_SERVICE_PORT": str(plane.api.port)}
        self._environment = {**os.environ, **here, **environment}
        self._log = folder / "copies.log"
        self._ended = threading.Event()
        self._guard = threading.Lock()
        self._running: dict[str, Copy] = {}
        self._known: set[str] = set()
        self.started = self.succeeded = self.failed = self.killed = self.most = 0

    @property
    def said(self) -> str:
        """What all of them printed."""
        return self._log.read_text(errors="replace")

    def run(self) -> None:
        while not self._ended.wait(_PAUSE):
            self._reap()
            for pod in self._plane.api.list("Pod", "app.kubernetes.io/component%3Dcopy"):
                if pod["metadata"]["uid"] not in self._known:
                    self._known.add(pod["metadata"]["uid"])
                    self._start(pod)

    def stop(self) -> None:
        """End all that run."""
        self._ended.set()
        self.join(30)
        with self._guard:
            for copy in self._running.values():
                copy.process.kill()
                copy.process.wait(10)

    def kill(self, choose: random.Random) -> tuple[str, float] | None:
        """SIGKILL to one of those that run: its image, and when; None where none does."""
        with self._guard:
            alive = [copy for copy in self._running.values() if copy.process.poll() is None]
            if not alive:
                return None
            copy, at = choose.choice(alive), time.monotonic()
            copy.process.kill()
            self.killed += 1
            return copy.image, at

    def _start(self, pod: Object) -> None:
        arguments = pod["spec"]["containers"][0]["args"]
        meta = pod["metadata"]
        own = {"KUIK_JOB": meta["labels"][_JOB], "KUIK_NAMESPACE": meta["namespace"]}
        command = [sys.executable, "-m", "tests.cluster.rig.in_pod", str(self._account), *arguments]
        with self._log.open("ab") as log:
            process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env={**self._environment, **own})
        self.started += 1
        with self._guard:
            self._running[meta["uid"]] = Copy(pod, arguments[arguments.index("--image") + 1], process)
            self.most = max(self.most, sum(copy.process.poll() is None for copy in self._running.values()))
        self._say(pod, running(pod))

    def _reap(self) -> None:
        with self._guard:
            ended = {uid: copy for uid, copy in self._running.items() if copy.process.poll() is not None}
            for uid in ended:
                del self._running[uid]
        for copy in ended.values():
            good = copy.process.returncode == 0
            self.succeeded += good
            self.failed += not good
            self._say(copy.pod, {"phase": "Succeeded" if good else "Failed"})

    def _say(self, pod: Object, status: Object) -> None:
        try:
            self._plane.api.patch({**pod, "kind": "Pod"}, {"status": status}, "status")
        except Refused as error:
            if error.code != 404:  # its Job was deleted meanwhile
                raise
