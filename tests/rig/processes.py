"""Programs that tests start: found or named, waited for, and always stopped by pid."""

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Callable

from kuik.demo.ports import free_port

__all__ = ["find", "free_port", "listening", "stop", "wait_until"]


def find(program: str) -> str | None:
    """Where `program` is, or None."""
    return shutil.which(program)


def wait_until(ready: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Return once `ready()` holds; fail the test, naming `what`, when it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if ready():
            return
        time.sleep(0.02)
    raise AssertionError(f"{what}: not within {seconds} s")


def listening(port: int, address: str = "127.0.0.1") -> bool:
    """Whether something accepts connections on the port."""
    with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=1):
        return True
    return False


def stop(process: "subprocess.Popen[bytes] | subprocess.Popen[str]") -> None:
    """End a process that a test started, politely first."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
