"""What local mode tells the person who started it: bars on a terminal, plain lines elsewhere, always on stderr."""

import threading
from collections.abc import Mapping
from typing import Any, Protocol

from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn, TransferSpeedColumn
from rich.progress import Progress as Bars

from registry.copy import Progress, Silent
from registry.digest import Digest
from registry.manifest import Descriptor


class Story(Protocol):
    """The events of a run."""

    def say(self, text: str) -> None: ...
    def copying(self, image: str) -> Progress: ...
    def ended(self, image: str, result: Mapping[str, Any], seconds: float, verb: str = "cached") -> None: ...
    def close(self) -> None: ...


def story(console: Console) -> Story:
    """Bars when `console` is a terminal, lines when it is not."""
    return BarStory(console) if console.is_terminal else LineStory(console)


def sentence(image: str, result: Mapping[str, Any], seconds: float, verb: str = "cached") -> str:
    """How a copy ended, in one line."""
    if "reason" in result:
        return f"failed   {image}: {result['reason']}: {result['message']}"
    return f"{verb:<8} {image} {result['digest']} {decimal(int(result['size']))} in {seconds:.1f} s"


class LineStory:
    """One line an event."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, text: str) -> None:
        self._console.print(escape(text), soft_wrap=True, highlight=False)

    def copying(self, image: str) -> Progress:
        self.say(f"copying  {image}")
        return Silent()

    def ended(self, image: str, result: Mapping[str, Any], seconds: float, verb: str = "cached") -> None:
        self.say(sentence(image, result, seconds, verb))

    def close(self) -> None:
        """Nothing is left open."""


class BarStory:
    """A bar for each image that is being copied, and a line when it is done."""

    def __init__(self, console: Console) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        self._bars = Bars(*columns, console=console, transient=True)
        self._tasks: dict[str, TaskID] = {}
        self._bars.start()

    def say(self, text: str) -> None:
        self._bars.console.print(escape(text), soft_wrap=True, highlight=False)

    def copying(self, image: str) -> Progress:
        self._tasks[image] = task = self._bars.add_task(escape(image), total=None)
        return _Bar(self._bars, task)

    def ended(self, image: str, result: Mapping[str, Any], seconds: float, verb: str = "cached") -> None:
        task = self._tasks.pop(image, None)
        if task is not None:
            self._bars.remove_task(task)
        self.say(sentence(image, result, seconds, verb))

    def close(self) -> None:
        self._bars.stop()


class _Bar:
    """One image's bar; parts of it report from several threads."""

    def __init__(self, bars: Bars, task: TaskID) -> None:
        self._bars = bars
        self._task = task
        self._total = 0
        self._lock = threading.Lock()

    def started(self, descriptor: Descriptor) -> None:
        with self._lock:
            self._total += descriptor.size
            self._bars.update(self._task, total=self._total)

    def advanced(self, digest: Digest, count: int) -> None:  # noqa: ARG002 - one bar shows the whole image
        self._bars.advance(self._task, count)

    def finished(self, digest: Digest) -> None:
        """The bar is removed when the whole image is there."""
