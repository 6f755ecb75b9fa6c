"""JSON over HTTP as both applications speak it: bounded bodies in, errors that say what is wrong out."""

import logging
from collections.abc import Mapping
from typing import Any

import orjson
from flask import Response, request
from werkzeug.exceptions import BadRequest, HTTPException, InternalServerError

from hooks.messages import Unreadable

_log = logging.getLogger(__name__)


def body(limit: int) -> Mapping[str, Any]:
    """The request's JSON object; aborts with 413 or 400. The parser itself bounds the depth, at 1,024."""
    request.max_content_length = limit
    try:
        document = orjson.loads(request.get_data(cache=False))
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON: {error.msg} at character {error.pos}") from error
    if not isinstance(document, dict):
        raise BadRequest("the body is not a JSON object")
    return document


def json_answer(document: Mapping[str, Any], status: int = 200) -> Response:
    """The document as the answer."""
    return Response(orjson.dumps(document), status, mimetype="application/json")


def unreadable(error: Unreadable) -> Response:
    """500: the request cannot be answered, and who asked will ask again."""
    _log.warning("%s: %s", request.path, error)
    return json_answer({"error": str(error)}, 500)


def refused(error: HTTPException) -> Response:
    """The error in words; those of a failure of ours stay in the log."""
    if isinstance(error, InternalServerError) and error.original_exception is not None:
        return json_answer({"error": "the hooks failed; their log says why"}, 500)
    return json_answer({"error": error.description or error.name}, error.code or 500)
