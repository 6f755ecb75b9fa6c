"""The hooks' HTTP endpoints: what Metacontroller and the API server call."""

import logging
import time
from collections.abc import Mapping
from typing import Any

import orjson
from flask import Flask, Response, request
from werkzeug.exceptions import BadRequest, HTTPException, InternalServerError, NotFound

from hooks import messages
from hooks.admission import admit, asked
from hooks.messages import Stage, Unreadable
from hooks.observe import Observer
from hooks.stages import STAGES

MAX_SYNC_BODY = 128 * 1024 * 1024
"""Bytes of a sync request: 2,000 pods are 26 MB, 10,000 CachedImages about 30 MB."""

MAX_ADMISSION_BODY = 3 * 1024 * 1024
"""Bytes of an AdmissionReview: what an API server stores of one object is at most 1.5 MiB."""

_log = logging.getLogger(__name__)


def create_app(observer: Observer) -> Flask:
    """The application; `observer` is asked once for each request."""
    app = Flask("hooks")

    @app.post("/sync/<name>")
    def sync(name: str) -> Response:
        started = time.perf_counter()
        stage = _stage(name)
        response = _json(messages.answer(stage, _body(MAX_SYNC_BODY), observer.context(), observer.gather))
        _log.debug("synced %s in %.1f ms", name, (time.perf_counter() - started) * 1000)
        return response

    @app.post("/customize/<name>")
    def customize(name: str) -> Response:
        return _json(messages.customize(_stage(name), _body(MAX_SYNC_BODY)))

    @app.post("/admit")
    def admission() -> Response:
        review = _body(MAX_ADMISSION_BODY)
        references = asked(review, observer.context().observe({}))
        return _json(admit(review, observer.context(references).observe({})).review())

    @app.get("/healthz")
    @app.get("/readyz")
    def health() -> Response:
        return Response("ok\n", mimetype="text/plain")

    app.register_error_handler(Unreadable, _unreadable)
    app.register_error_handler(HTTPException, _refused)
    return app


def _stage(name: str) -> Stage:
    stage = STAGES.get(name)
    if stage is None:
        raise NotFound(f"there is no stage {name[:64]!r}: it is one of {', '.join(STAGES)}")
    return stage


def _body(limit: int) -> Mapping[str, Any]:
    """The request's JSON object; aborts with 413 or 400. The parser itself bounds the depth, at 1,024."""
    request.max_content_length = limit
    try:
        document = orjson.loads(request.get_data(cache=False))
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON: {error.msg} at character {error.pos}") from error
    if not isinstance(document, dict):
        raise BadRequest("the body is not a JSON object")
    return document


def _json(document: Mapping[str, Any], status: int = 200) -> Response:
    return Response(orjson.dumps(document), status, mimetype="application/json")


def _unreadable(error: Unreadable) -> Response:
    _log.warning("%s: %s", request.path, error)
    return _json({"error": str(error)}, 500)


def _refused(error: HTTPException) -> Response:
    if isinstance(error, InternalServerError) and error.original_exception is not None:
        return _json({"error": "the hooks failed; their log says why"}, 500)
    return _json({"error": error.description or error.name}, error.code or 500)
