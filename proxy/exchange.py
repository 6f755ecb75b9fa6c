"""From an HTTP request to a source's answer and back, for proxy and shield alike, with a log line for each."""

import logging
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from flask import Flask, Response, json
from flask import request as http
from werkzeug.exceptions import HTTPException

from proxy.errors import MethodRefused, NameUnknown, RangeNotSatisfiable, document, told_status
from proxy.path import Kind, parse, shown
from proxy.sources.message import Answer, Request
from proxy.span import ByteRange
from proxy.stream import FileBody, NoBody, Sending, SendingFile
from registry.errors import NotFound, RegistryError, Unauthorized

log = logging.getLogger("kuik.pull")

API = {"Docker-Distribution-API-Version": "registry/2.0"}
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_QUERY = ("n", "last", "artifactType")
Fetch = Callable[[Request], Answer]


def serve_v2(app: Flask, fetch: Fetch) -> None:
    """Answer `/v2/...` of `app` by `fetch`; what is asked wrongly or cannot be had is told as the spec's JSON."""

    def answer(rest: str = "") -> Response:
        return _exchange(f"/v2/{rest}", fetch)

    app.url_map.merge_slashes = False
    app.url_map.strict_slashes = False
    for rule in ("/v2/", "/v2/<path:rest>"):
        app.add_url_rule(rule, "v2", answer, methods=_METHODS, provide_automatic_options=False)
    app.register_error_handler(HTTPException, _other_path)
    app.register_error_handler(Exception, _unforeseen)


@dataclass(frozen=True, slots=True)
class Line:
    """The log line of one request, written when its body was sent."""

    what: str
    begun: float

    def answered(self, answer: Answer, sent: int, error: RegistryError | None) -> None:
        """A source answered; `error` is what broke the body off, None also when the client left."""
        source, seconds = answer.source or "here", time.monotonic() - self.begun
        if error:
            log.warning("%s: broken off after %d bytes from %s in %.3f s: %s", self.what, sent, source, seconds, error)
            return
        left = not isinstance(answer.body, NoBody) and answer.length is not None and sent < answer.length
        told = f"{answer.status}, the client left after" if left else f"{answer.status},"
        log.info("%s: %s %d bytes from %s in %.3f s (%s)", self.what, told, sent, source, seconds, answer.cache)

    def refused(self, error: RegistryError) -> None:
        """There is nothing to send."""
        seconds = time.monotonic() - self.begun
        log.warning("%s: %d after %.3f s: %s: %s", self.what, told_status(error), seconds, error.reason, error)


def error_response(error: RegistryError, *, of_blob: bool = False) -> Response:
    """The spec's JSON for an error, with the headers that belong to its status."""
    response = Response(
        json.dumps(document(error, of_blob=of_blob)), told_status(error), API, mimetype="application/json"
    )
    if error.retry_after:
        response.headers["Retry-After"] = str(int(error.retry_after) or 1)
    if isinstance(error, MethodRefused):
        response.headers["Allow"] = "GET, HEAD"
    if isinstance(error, RangeNotSatisfiable):
        response.headers["Content-Range"] = f"bytes */{error.size}"
    return response


def _exchange(path: str, fetch: Fetch) -> Response:
    line = Line(f"{http.method} {shown(path)!r}", time.monotonic())
    of_blob = False
    try:
        request = _request(path)
        if request.kind is Kind.BASE:
            return Response("{}", headers=API, mimetype="application/json")
        line, of_blob = Line(str(request), line.begun), request.kind is Kind.BLOB
        answer = fetch(request)
    except RegistryError as error:
        line.refused(error)
        return error_response(_for_a_mirror(error) if "ns" in http.args else error, of_blob=of_blob)
    return _response(answer, line)


def _for_a_mirror(error: RegistryError) -> RegistryError:
    """What is closed is not here for a mirror's client: it goes on to ask upstream, with the pod's own credentials."""
    return NotFound(str(error)) if isinstance(error, Unauthorized) else error


def _request(path: str) -> Request:
    if http.method not in ("GET", "HEAD"):
        raise MethodRefused(f"{http.method} is refused: kuik serves images and takes none; push to the registry itself")
    query = {name: http.args[name] for name in _QUERY if name in http.args}
    wanted = ByteRange.parse(http.headers.get("Range"))
    route = parse(path, http.args.get("ns"))
    return Request(route, http.method, wanted if route.kind is Kind.BLOB else None, query)


def _response(answer: Answer, line: Line) -> Response:
    headers = API | answer.http_headers()
    if answer.cache:
        headers["Cache-Status"] = answer.cache

    def done(sent: int, error: RegistryError | None) -> None:
        line.answered(answer, sent, error)

    if isinstance(answer.body, NoBody):
        done(0, None)
        response = Response(status=answer.status)
        response.headers.clear()
        response.headers.update(headers)
        return response
    if isinstance(answer.body, FileBody):
        wrap = http.environ.get("wsgi.file_wrapper")
        body = wrap(SendingFile(answer.body, done)) if wrap else Sending(answer.body, done)
    else:
        body = Sending(answer.body, done, _client())
    return Response(body, answer.status, headers, direct_passthrough=True)


def _unforeseen(error: Exception) -> Response:
    """Flask would log the path as it is."""
    log.error("%s %s failed", http.method, shown(http.path), exc_info=error)
    return error_response(RegistryError("kuik failed to answer; its log says why"))


def _client() -> socket.socket | None:
    """The client's own socket, where gunicorn shows it and bytes go into it as they are."""
    found = http.environ.get("gunicorn.socket")
    return found if type(found) is socket.socket and http.environ.get("HTTP_VERSION") != "2" else None


def _other_path(error: HTTPException) -> Response:
    if error.code == 404:
        return error_response(NameUnknown("this is a registry of the distribution API: ask for /v2/..."))
    if error.code == 405:
        return error_response(MethodRefused(f"{http.method} is refused here"))
    return error_response(RegistryError("kuik failed to answer; its log says why"))
