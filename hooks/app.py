"""The hooks' HTTP endpoints: what Metacontroller calls."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from flask import Flask, Response
from flask import request as http
from werkzeug.exceptions import HTTPException, NotFound

from hooks import messages
from hooks.answers import body, json_answer, refused, unreadable
from hooks.messages import Stage, Unreadable
from hooks.observe import Observer
from hooks.record import ANSWERED, SILENT, HookRecorder
from hooks.stages import STAGES
from hooks.transitions import transitions
from kube.events import Recorder

MAX_SYNC_BODY = 128 * 1024 * 1024
"""Bytes of a sync request: 2,000 pods are 26 MB, 10,000 CachedImages about 30 MB."""

RECORDER = "kuik.recorder"
"""Where the application's config holds its Recorder."""

_DONE = {"sync": "synced", "customize": "customized"}
_log = logging.getLogger(__name__)


def create_app(observer: Observer, recorder: Recorder | None = None, counted: HookRecorder = SILENT) -> Flask:
    """The application; `observer` is asked once for each request, and `recorder` writes what happens to images.

    `counted` is told of every hook.
    """
    app = Flask("hooks")
    app.config[RECORDER] = recorder

    @app.post("/sync/<name>")
    def sync(name: str) -> Response:
        with _counted(counted, "sync", name):
            stage = _stage(name)
            request = body(MAX_SYNC_BODY)
            answer = messages.answer(stage, request, observer.context(), observer.gather)
            if name == "imagecache":
                counted.cache(answer["status"])
            if recorder and name == "cachedimage":
                recorder.say(transitions(request[stage.style.parent], answer["status"]))
            return json_answer(answer)

    @app.post("/customize/<name>")
    def customize(name: str) -> Response:
        with _counted(counted, "customize", name):
            return json_answer(messages.customize(_stage(name), body(MAX_SYNC_BODY)))

    @app.get("/healthz")
    @app.get("/readyz")
    def health() -> Response:
        return Response("ok\n", mimetype="text/plain")

    app.register_error_handler(Unreadable, unreadable)
    app.register_error_handler(HTTPException, refused)
    return app


@contextmanager
def _counted(counted: HookRecorder, hook: str, stage: str) -> Iterator[None]:
    """Tell what becomes of one hook, and how long it took."""
    started, outcome = time.perf_counter(), "Failed"
    try:
        yield
        outcome = ANSWERED
    except Unreadable:
        outcome = "Unreadable"
        raise
    except HTTPException:
        outcome = "Refused"
        raise
    finally:
        seconds = time.perf_counter() - started
        counted.hook(hook, stage if stage in STAGES else "unknown", outcome, seconds)
        size, done = http.content_length or 0, _DONE[hook] if outcome == ANSWERED else f"{outcome}: {hook} of"
        _log.debug("%s %s in %.1f ms, asked with %d bytes", done, stage[:64], seconds * 1000, size)


def _stage(name: str) -> Stage:
    stage = STAGES.get(name)
    if stage is None:
        raise NotFound(f"there is no stage {name[:64]!r}: it is one of {', '.join(STAGES)}")
    return stage
