"""Waiting for one source only so long, as long as another may have the answer."""

import threading
from collections.abc import Callable
from concurrent.futures import Future

from proxy.sources.message import Answer
from registry.errors import Unreachable

SECONDS = 2.0
"""How long a tag's copy is held back for the word of those who know whether the tag moved."""


class StillWaiting(Unreachable):
    """The source has not answered yet. What it will say is not lost: `wait` for it, or `abandon` it."""

    def __init__(self, coming: "Future[Answer]", name: str, seconds: float) -> None:
        super().__init__(f"{name} did not answer within {seconds:.0f} s")
        self._coming = coming

    def wait(self) -> Answer:
        """The source's answer, however long it takes; raises what asking it raises."""
        return self._coming.result()

    def abandon(self) -> None:
        """Nobody wants the answer any more: its body is closed when it comes."""
        self._coming.add_done_callback(_close)


def patiently(ask: Callable[[], Answer], name: str, seconds: float) -> Answer:
    """The answer of `ask`, or its error, when it comes within `seconds`; else raises StillWaiting."""
    coming: Future[Answer] = Future()
    try:
        threading.Thread(target=_run, args=(ask, coming), daemon=True, name=f"ask {name}").start()
    except RuntimeError:  # the machine has no thread left
        return ask()
    try:
        return coming.result(seconds)
    except TimeoutError:
        if coming.done():  # the source's own word
            raise
        raise StillWaiting(coming, name, seconds) from None


def _run(ask: Callable[[], Answer], coming: "Future[Answer]") -> None:
    try:
        coming.set_result(ask())
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is raised where the answer is waited for
        coming.set_exception(error)


def _close(coming: "Future[Answer]") -> None:
    if coming.exception() is None:
        coming.result().body.close()
