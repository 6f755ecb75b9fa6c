"""How much one registry is asked at once: its breaker, its share of questions, and its share of transfers."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from proxy.breaker import Breakers
from proxy.errors import NotAsked

PATIENCE = 20.0
"""Seconds to wait for a turn: less than the proxies wait for the shield, so that they learn why and ask elsewhere."""
_MOST_GATES = 2000


@dataclass(frozen=True, slots=True)
class Limits:
    """What one registry is asked at once, by one replica of the shield.

    `transfers` are blobs on their way, `requests` questions that are not answered yet (those for a blob too).
    """

    transfers: int = 32
    requests: int = 32


class Gate:
    """Lets in so many at once; how many may change at any time."""

    def __init__(self) -> None:
        self._inside = 0
        self._changed = threading.Condition()

    def enter(self, most: int, seconds: float) -> bool:
        """Wait for a place, at most so long; False when there was none."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._inside < most, seconds):
                return False
            self._inside += 1
            return True

    def leave(self) -> None:
        with self._changed:
            self._inside -= 1
            self._changed.notify()

    @property
    def inside(self) -> int:
        return self._inside


class Turns:
    """Everything that is asked of registries passes here; threads share it. `limits` is asked for each registry."""

    def __init__(
        self,
        breakers: Breakers,
        limits: Callable[[str], Limits] = lambda _host: Limits(),
        patience: float = PATIENCE,
    ) -> None:
        self._breakers = breakers
        self._limits = limits
        self._patience = patience
        self._gates: dict[tuple[str, str], Gate] = {}
        self._lock = threading.Lock()

    @contextmanager
    def guard(self, host: str) -> Iterator[None]:
        """Ask the registry one question inside this; raises NotAsked when it is left alone, or has enough to do."""
        with self._turn(host, "requests", self._limits(host).requests), self._breakers.guard(host):
            yield

    @contextmanager
    def transfer(self, host: str) -> Iterator[None]:
        """Hold this while the bytes of a blob come; raises NotAsked when enough others do."""
        with self._turn(host, "transfers", self._limits(host).transfers):
            yield

    def under_way(self, host: str) -> Limits:
        """How many transfers and questions there are now."""
        return Limits(self._gate(host, "transfers").inside, self._gate(host, "requests").inside)

    @contextmanager
    def _turn(self, host: str, what: str, most: int) -> Iterator[None]:
        gate = self._gate(host, what)
        if not gate.enter(most, self._patience):
            raise NotAsked(
                f"{host} has {most} {what} under way for {self._patience:.0f} s, the most it is given", retry_after=5
            )
        try:
            yield
        finally:
            gate.leave()

    def _gate(self, host: str, what: str) -> Gate:
        with self._lock:
            if len(self._gates) > _MOST_GATES:  # callers may name any host
                self._gates = {key: gate for key, gate in self._gates.items() if gate.inside}
            return self._gates.setdefault((host, what), Gate())
