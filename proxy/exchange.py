"""From an HTTP request to a source's answer and back, for proxy and shield alike, with an account of each."""

import math
import socket
from collections.abc import Callable
from dataclasses import replace

from flask import Flask, Response, json
from flask import request as http
from werkzeug.exceptions import HTTPException

from proxy.account import Account, log
from proxy.conditions import Conditions
from proxy.errors import MethodRefused, NameUnknown, RangeNotSatisfiable, document, told_status
from proxy.paging import rewritten
from proxy.path import Kind, parse, shown
from proxy.record import SILENT, Recorder
from proxy.sources.message import API, Answer, Request
from proxy.span import ByteRange
from proxy.stream import FileBody, NoBody, Sending, SendingFile
from registry.errors import NotFound, RegistryError, Unauthorized
from registry.pipes import splices

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_QUERY = ("n", "last", "artifactType")
ONLY_CACHED = "only-if-cached"
"""What `/v2/` confirms by Preference-Applied (RFC 7240, 3) to who asks with that Cache-Control: who would go on to ask
upstream does not."""
Fetch = Callable[[Request], Answer]


def serve_v2(app: Flask, fetch: Fetch, recorder: Recorder = SILENT) -> None:
    """Answer `/v2/...` of `app` by `fetch`; what is asked wrongly or cannot be had is told as the spec's JSON.

    `recorder` is told of every request.
    """

    def answer(rest: str = "") -> Response:
        account = Account(http.method, f"/v2/{rest}", recorder)
        try:
            return _exchange(account, fetch)
        except BaseException:
            account.failed()
            raise

    app.url_map.merge_slashes = False
    app.url_map.strict_slashes = False
    for rule in ("/v2/", "/v2/<path:rest>"):
        app.add_url_rule(rule, "v2", answer, methods=_METHODS, provide_automatic_options=False)
    app.register_error_handler(HTTPException, _other_path)
    app.register_error_handler(Exception, _unforeseen)


def error_response(error: RegistryError, *, of_blob: bool = False) -> Response:
    """The spec's JSON for an error, with the headers that belong to its status."""
    response = Response(
        json.dumps(document(error, of_blob=of_blob)), told_status(error), API, mimetype="application/json"
    )
    if error.retry_after:
        response.headers["Retry-After"] = str(math.ceil(error.retry_after))
    if isinstance(error, MethodRefused):
        response.headers["Allow"] = "GET, HEAD"
    if isinstance(error, RangeNotSatisfiable):
        response.headers["Content-Range"] = f"bytes */{error.size}"
    return response


def _exchange(account: Account, fetch: Fetch) -> Response:
    of_blob = False
    try:
        request = _request(account.path)
        account.understood(request)
        if request.kind is Kind.BASE:
            account.served_here()
            applied = {"Preference-Applied": ONLY_CACHED} if request.only_cached else {}
            return Response("{}", headers=API | applied, mimetype="application/json")
        of_blob = request.kind is Kind.BLOB
        conditions = Conditions.parse(http.headers.get("If-None-Match"), http.headers.get("If-Range"))
        answer = fetch(conditions.question(request))
    except RegistryError as error:
        account.refused(error)
        return error_response(_for_a_mirror(error) if "ns" in http.args else error, of_blob=of_blob)
    account.begins()
    if conditions.holds(answer):
        return _not_modified(answer, account)
    return _response(answer, account)


def _for_a_mirror(error: RegistryError) -> RegistryError:
    """What is closed is not here for a mirror's client: it goes on to ask upstream, with the pod's own credentials."""
    return NotFound(str(error)) if isinstance(error, Unauthorized) else error


def _request(path: str) -> Request:
    if http.method not in ("GET", "HEAD"):
        raise MethodRefused(f"{http.method} is refused: kuik serves images and takes none; push to the registry itself")
    query = {name: http.args[name] for name in _QUERY if name in http.args}
    wanted = ByteRange.parse(http.headers.get("Range"))
    route = parse(path, http.args.get("ns"))
    only_cached = http.cache_control.only_if_cached is True
    return Request(route, http.method, wanted if route.kind is Kind.BLOB else None, query, only_cached)


def _not_modified(answer: Answer, account: Account) -> Response:
    """Without what describes a body (RFC 9110, 15.4.5)."""
    answer.body.close()
    answer = replace(answer, body=NoBody(), span=None)
    account.answered(answer, 0, None)
    cache = {"Cache-Status": answer.cache} if answer.cache else {}
    response = Response(status=304, headers=API | answer.http_headers() | cache)
    for name in ("Content-Type", "Content-Length", "Accept-Ranges"):
        response.headers.pop(name, None)
    return response


def _response(answer: Answer, account: Account) -> Response:
    headers = API | answer.http_headers()
    if "Link" in headers:
        headers["Link"] = rewritten(headers["Link"], http.path, http.args.get("ns"))
        if not headers["Link"]:
            del headers["Link"]
    if answer.cache:
        headers["Cache-Status"] = answer.cache

    def done(sent: int, error: RegistryError | None) -> None:
        account.answered(answer, sent, error)

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
        framed = answer.length is None  # the server writes it in chunks, as it has no length
        body = Sending(answer.body, done, None if framed else _client())
    return Response(body, answer.status, headers, direct_passthrough=True)


def _unforeseen(error: Exception) -> Response:
    """Flask would log the path as it is."""
    log.error("%s %s failed", http.method, shown(http.path), exc_info=error)
    return error_response(RegistryError("kuik failed to answer; its log says why"))


def _client() -> socket.socket | None:
    """The client's own socket, where gunicorn shows it and bytes go into it as they are."""
    found = http.environ.get("gunicorn.socket")
    plain = type(found) is socket.socket and http.environ.get("HTTP_VERSION") != "2"
    return found if plain and splices() else None


def _other_path(error: HTTPException) -> Response:
    if error.code == 404:
        return error_response(NameUnknown("this is a registry of the distribution API: ask for /v2/..."))
    if error.code == 405:
        return error_response(MethodRefused(f"{http.method} is refused here"))
    return error_response(RegistryError("kuik failed to answer; its log says why"))
