"""How later runs in a sandbox that stays go on with what the first has made.

What a run knows of its cluster is kept in the run's folder, and a later process reads it there. Processes are then no
children of who reads, but are the sandbox's all the same.
"""

import contextlib
import io
import os
import pickle
import signal
import time
from pathlib import Path
from subprocess import Popen
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509 import Name


class Adopted:
    """A process that another run has started, with as much of Popen as the rig asks of one."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def poll(self) -> int | None:
        """None while it runs."""
        with contextlib.suppress(OSError):
            state = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
            return None if state != "Z" else 0
        return 0

    def wait(self, timeout: float = 60.0) -> int:
        """Return once it is gone; raises TimeoutError."""
        until = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > until:
                raise TimeoutError(f"process {self.pid} does not end")
            time.sleep(0.02)
        return 0

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number: int) -> None:
        """Send a signal, to nobody where it is gone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


def _key(pem: bytes) -> EllipticCurvePrivateKey:
    key = load_pem_private_key(pem, None)
    assert isinstance(key, EllipticCurvePrivateKey)
    return key


class _Keeper(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, Popen):
            return Adopted, (obj.pid,)
        if isinstance(obj, EllipticCurvePrivateKey):
            pem = obj.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            return _key, (pem,)
        if isinstance(obj, Name):
            return Name.from_rfc4514_string, (obj.rfc4514_string(),)
        return NotImplemented


def keep(folder: Path, name: str, thing: object) -> None:
    """Keep something for later runs in this sandbox."""
    buffer = io.BytesIO()
    _Keeper(buffer).dump(thing)
    (folder / f"{name}.kept").write_bytes(buffer.getvalue())


def kept(folder: Path, name: str) -> Any:
    """What an earlier run has kept under that name, or None."""
    with contextlib.suppress(FileNotFoundError):
        return pickle.loads((folder / f"{name}.kept").read_bytes())  # noqa: S301  our own file, in our own folder
    return None
