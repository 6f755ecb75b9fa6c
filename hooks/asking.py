"""Questions to the shield that many pods have at the same time, asked once."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Lock

from hooks.facts import Absent, Access, Known, Unknown
from registry.reference import Reference

PATIENCE = 1.0
"""Seconds for all images of one pod together. With less, many pods of a crowd pull from upstream by themselves."""
Ask = Callable[[Reference], Access]

_PARALLEL = 16
_WAITING = 64
"""Questions that may be open; whoever asks more is not answered."""
_REMEMBERED = 4096
_KNOWN_FOR = 30.0
_UNKNOWN_FOR = 2.0


class Asking:
    """Asks whether repositories are public: one question in flight for each, its answer kept for half a minute."""

    def __init__(
        self, ask: Ask | None, patience: float = PATIENCE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ask = ask
        self._patience = patience
        self._clock = clock
        self._pool = ThreadPoolExecutor(_PARALLEL, thread_name_prefix="facts")
        self._lock = Lock()
        self._open: dict[str, Future[Access]] = {}
        self._answers: OrderedDict[str, tuple[float, Access]] = OrderedDict()

    def answers(self, references: Iterable[Reference]) -> Mapping[str, Access]:
        """What is known in time, by repository (`host/name`); what is missing is not known."""
        found: dict[str, Access] = {}
        waiting: dict[str, Future[Access]] = {}
        for reference in references:
            answer = self._remembered(reference)
            if isinstance(answer, Future):
                waiting[reference.name] = answer
            else:
                found[reference.name] = answer
        done, _ = wait(waiting.values(), timeout=self._patience)
        return found | {name: one.result() for name, one in waiting.items() if one in done and one.exception() is None}

    def _remembered(self, reference: Reference) -> Access | Future[Access]:
        if self._ask is None:
            return Absent()
        with self._lock:
            name = reference.name
            if name in self._open:
                return self._open[name]
            until, answer = self._answers.get(name, (0.0, Unknown()))
            if self._clock() < until:
                return answer
            if len(self._open) >= _WAITING:
                return Unknown("too many questions are open")
            future = self._open[name] = self._pool.submit(self._ask, reference)
        # Outside of the lock: a future that is done already calls back at once.
        future.add_done_callback(lambda done: self._keep(name, done))
        return future

    def _keep(self, name: str, done: "Future[Access]") -> None:
        failed = done.cancelled() or done.exception() is not None
        answer = Unknown("the question failed") if failed else done.result()
        with self._lock:
            self._open.pop(name, None)
            self._answers[name] = (self._clock() + (_KNOWN_FOR if isinstance(answer, Known) else _UNKNOWN_FOR), answer)
            self._answers.move_to_end(name)
            while len(self._answers) > _REMEMBERED:
                self._answers.popitem(last=False)
