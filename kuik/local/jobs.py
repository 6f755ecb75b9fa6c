"""Runs the copy Jobs that stage 3 makes, as a cluster's Job controller would, in threads of this process."""

import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import click
import orjson

from kube.types import Key
from kuik.copy_job import RESULT, Order, read_order
from kuik.driver.objects import Objects

MODULE = "kuik.copy_job"


@dataclass(frozen=True)
class Finished:
    """A Job that ended: its image, the result in the annotation's form, and how long it took."""

    job: Key
    image: str
    result: Mapping[str, Any]
    seconds: float


class JobRunner:
    """At most `parallel` Jobs at once, each by `perform`; `wake` is called, from any thread, when one has ended.

    `start` and `collect` touch the objects and belong to one thread.
    """

    def __init__(
        self, objects: Objects, perform: Callable[[Order], Mapping[str, Any]], wake: Callable[[], None]
    ) -> None:
        self._objects = objects
        self._perform = perform
        self._wake = wake
        self._running: set[Key] = set()
        self._ended: queue.SimpleQueue[Finished] = queue.SimpleQueue()

    @property
    def running(self) -> int:
        return len(self._running)

    def start(self, parallel: int) -> None:
        """Start Jobs that have not been started, in the order of their names, as far as there is room."""
        for job in self._objects.list("batch/v1", "Job"):
            if len(self._running) >= parallel:
                return
            key = Key.of(job)
            if not job.get("status") and key not in self._running:
                self._running.add(key)
                threading.Thread(target=self._run, args=(key, job), daemon=True, name=key.name).start()

    def collect(self, now: datetime) -> list[Finished]:
        """Write the results of Jobs that ended to them; what ended, oldest first."""
        ended = []
        while not self._ended.empty():
            finished = self._ended.get()
            self._running.discard(finished.job)
            self._write(finished, now)
            ended.append(finished)
        return ended

    def _run(self, key: Key, job: Mapping[str, Any]) -> None:
        began = time.monotonic()
        image = ""
        result: Mapping[str, Any] = {"reason": "Failed", "message": "the copy ended without a result"}
        try:
            order = _order(job)
            image = str(order.image)
            result = self._perform(order)
        except click.UsageError as error:
            result = {"reason": "Failed", "message": error.message}
        finally:
            self._ended.put(Finished(key, image, result, time.monotonic() - began))
            self._wake()

    def _write(self, finished: Finished, now: datetime) -> None:
        job = self._objects.get(finished.job)
        if job is None:
            return  # its CachedImage is gone meanwhile
        annotations = {**(job["metadata"].get("annotations") or {}), RESULT: orjson.dumps(finished.result).decode()}
        self._objects.put({**job, "metadata": {**job["metadata"], "annotations": annotations}})
        self._objects.put_status(finished.job, _status("reason" in finished.result, now))


def _order(job: Mapping[str, Any]) -> Order:
    arguments = job["spec"]["template"]["spec"]["containers"][0]["args"]
    if arguments[:1] != [MODULE]:
        raise click.UsageError(f"a Job that runs {arguments[:1]} and not {MODULE} cannot run here")
    return read_order(arguments[1:])


def _status(failed: bool, now: datetime) -> dict[str, Any]:
    """What the Job controller writes when a Job has ended."""
    time_ = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    condition = {"type": "Failed" if failed else "Complete", "status": "True", "lastTransitionTime": time_}
    if failed:
        return {"failed": 1, "conditions": [{**condition, "reason": "BackoffLimitExceeded"}]}
    return {"succeeded": 1, "completionTime": time_, "conditions": [condition]}
