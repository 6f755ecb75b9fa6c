"""gunicorn as both programs run it, until SIGTERM, which lets requests end first."""

import gc
import os
from collections.abc import Callable, Mapping
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication

from telemetry.health import Health

_THRESHOLDS = (100_000, 50, 100)


class Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn with our options instead of its own command line; `load` runs in the worker."""

    def __init__(self, application: Callable[[], Flask], options: Mapping[str, Any]) -> None:
        self._application = application
        self._options = options
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def tell(self, health: Health) -> "Server":
        """Let `health` know when the worker accepts connections, whether it goes on, and when it leaves."""
        self.cfg.set("post_worker_init", health.follow)
        return self

    def load(self) -> Flask:
        application = self._application()
        _collect_seldom()
        return application


def _collect_seldom() -> None:
    """Let the garbage collector look seldom, and never at what was there from the start.

    A request of 26 MB is a million objects and no cycle; Python's own habit walks through them again and again while
    they are read, which makes time grow faster than the request.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)


def gunicorn_options(name: str, listen: str, workers: int, threads: int, log_level: str) -> dict[str, Any]:
    """What both programs have in common; `listen` is `host:port`."""
    return {
        "bind": [listen],
        "workers": workers,
        "threads": threads,
        "worker_class": "gthread",
        "worker_tmp_dir": "/dev/shm" if os.path.isdir("/dev/shm") else None,  # noqa: S108, PTH112 - heartbeats in memory
        "control_socket_disable": True,
        "timeout": 60,
        "graceful_timeout": 20,
        "keepalive": 75,
        "loglevel": log_level,
        "proc_name": name,
    }
