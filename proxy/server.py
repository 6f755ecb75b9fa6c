"""The gunicorn server that every HTTP component of the data path runs under: one worker, many threads."""

from collections.abc import Callable, Sequence
from typing import Any
from wsgiref.types import WSGIApplication

from gunicorn.app.base import BaseApplication

from proxy.clients import Worker
from telemetry.health import Health

THREADS = 96
"""Requests at once; a thread is started only when a request finds no idle one."""


class Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """Serves what `load` gives, which is called in the worker, after the fork. `run()` returns by SystemExit.

    `binds` are `host:port`, `unix:path` or `fd://N`; further gunicorn settings may be given by name.
    """

    def __init__(self, binds: Sequence[str], load: Callable[[], WSGIApplication], **settings: Any) -> None:
        self._load = load
        self._settings: dict[str, Any] = {
            "bind": list(binds),
            "worker_class": Worker,
            "workers": 1,
            "threads": THREADS,
            "worker_connections": 1024,
            "keepalive": 60,
            "graceful_timeout": 30,
            "loglevel": "warning",
            "proc_name": "kuik",
            "control_socket_disable": True,
            **settings,
        }
        super().__init__()

    def load_config(self) -> None:
        """gunicorn's own hook: settings come from here alone, not from its files or environment."""
        for name, value in self._settings.items():
            self.cfg.set(name, value)

    def load(self) -> WSGIApplication:
        """gunicorn's own hook."""
        return self._load()

    def tell(self, health: Health) -> "Server":
        """Let `health` know when the worker accepts connections, whether it goes on, and when it leaves."""
        self.cfg.set("post_worker_init", health.follow)
        return self
