"""Whether this process serves: told by itself about itself, whoever else listens on the same port."""

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from telemetry.page import Page, Pages, document
from telemetry.version import VERSION

STANDS_STILL = 20.0
"""Seconds without a sign of the loop that accepts connections after which the process is not well."""


@dataclass(frozen=True, slots=True)
class Check:
    """What one part says: `ready` decides whether the process is, `degraded` only tells that it works with less."""

    ready: bool = True
    degraded: bool = False
    message: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    def shown(self) -> dict[str, Any]:
        """As it stands in the page."""
        state = "not ready" if not self.ready else "degraded" if self.degraded else "ok"
        return {"state": state} | ({"message": self.message} if self.message else {}) | dict(self.facts)


class Health:
    """The life of one process: starting, serving, draining; threads share it. `clock` is monotonic, in seconds.

    `check` adds a part by name; it is called for each `/readyz`, so it must answer from memory.
    """

    def __init__(self, component: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.component = component
        self._clock = clock
        self._started = datetime.now(UTC)
        self._beaten: float | None = None
        self._draining: Callable[[], bool] = lambda: False
        self._checks: dict[str, Callable[[], Check]] = {}
        self._lock = threading.Lock()

    def check(self, name: str, check: Callable[[], Check]) -> None:
        """Ask this part too."""
        with self._lock:
            self._checks[name] = check

    def serving(self, draining: Callable[[], bool]) -> None:
        """Connections are accepted from now on, until `draining()`."""
        self._draining = draining
        self.beat()

    def beat(self) -> None:
        """The loop that accepts connections went round."""
        self._beaten = self._clock()

    def follow(self, worker: Any) -> None:
        """Follow a gunicorn worker (its setting `post_worker_init`).

        Its loop says `notify` at least once a second while it goes round, and `alive` until it was told to stop.
        """
        notify = worker.notify

        def beat() -> None:
            notify()
            self.beat()

        worker.notify = beat
        self.serving(lambda: not worker.alive)

    @property
    def state(self) -> str:
        """One of `starting`, `serving`, `draining` and `standing still`."""
        if self._beaten is None:
            return "starting"
        if self._draining():
            return "draining"
        return "serving" if self._clock() - self._beaten < STANDS_STILL else "standing still"

    def live(self) -> Page:
        """`/healthz`: 503 only when a restart would help."""
        state = self.state
        return document(503 if state == "standing still" else 200, self._about(state))

    def ready(self) -> Page:
        """`/readyz`: 200 while pulls should come here."""
        state = self.state
        with self._lock:
            checks = dict(self._checks)
        found = {name: check() for name, check in checks.items()}
        ready = state == "serving" and all(check.ready for check in found.values())
        degraded = any(check.degraded for check in found.values())
        shown = {name: check.shown() for name, check in found.items()}
        return document(200 if ready else 503, {"ready": ready, "degraded": degraded} | self._about(state) | shown)

    def pages(self) -> Pages:
        """The two pages by path."""
        return {"/healthz": self.live, "/readyz": self.ready}

    def _about(self, state: str) -> dict[str, Any]:
        return {
            "component": self.component,
            "state": state,
            "version": VERSION,
            "pid": os.getpid(),
            "since": self._started.isoformat(timespec="seconds"),
        }
