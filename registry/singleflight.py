"""One call for all who want the same thing at the same time."""

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SingleFlight(Generic[K, V]):
    """Calls under way, by key. Who comes while a call is under way gets its result, or its error.

    `joined` counts those who came so.
    """

    def __init__(self) -> None:
        self._under_way: dict[K, Future[V]] = {}
        self._lock = threading.Lock()
        self.joined = 0

    def do(self, key: K, work: Callable[[], V]) -> V:
        """The result of `work()`, which only the first of those who call at the same time runs, in its own thread."""
        with self._lock:
            flight = self._under_way.get(key)
            leads = flight is None
            self.joined += not leads
            if flight is None:
                flight = self._under_way[key] = Future()
        if leads:
            self._fly(key, flight, work)
        return flight.result()

    def _fly(self, key: K, flight: "Future[V]", work: Callable[[], V]) -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 -- handed to everyone who waits, who raise it
            self._land(key)
            flight.set_exception(error)
        else:
            self._land(key)
            flight.set_result(result)

    def _land(self, key: K) -> None:
        with self._lock:
            del self._under_way[key]
