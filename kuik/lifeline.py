"""The end of a serving process with the one that started it, however that went."""

import os
import signal
import threading


def follow(lifeline: int) -> None:
    """Call this in a gunicorn worker: ends the whole server when the other end of the pipe `lifeline` is closed."""
    arbiter = os.getppid()

    def wait() -> None:
        while os.read(lifeline, 1):
            pass
        os.kill(arbiter, signal.SIGTERM)

    threading.Thread(target=wait, daemon=True, name="lifeline").start()
