"""The short way for what is asked most: manifests that are in memory, answered without the framework around it.

What is not, or is not asked for plainly, goes the long way; the answers are the same.
"""

from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication

from proxy.account import Account
from proxy.path import Kind, parse
from proxy.record import Recorder
from proxy.sources.message import API, Answer, Request
from proxy.stream import BytesBody
from registry.errors import RegistryError

Remembered = Callable[[Request], Answer | None]
_LONG_WAY = ("HTTP_IF_NONE_MATCH", "HTTP_IF_MATCH", "HTTP_RANGE", "HTTP_CACHE_CONTROL")


class Quick:
    """Answers what `remembered` has, and leaves the rest to `app`. `recorder` is told of every request."""

    def __init__(self, app: WSGIApplication, remembered: Remembered, recorder: Recorder) -> None:
        self._app = app
        self._remembered = remembered
        self._recorder = recorder

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """WSGI's own."""
        request = _plain_question(environ)
        answer = self._known(request) if request else None
        if request is None or answer is None:
            return self._app(environ, start_response)
        account = Account(request.method, environ["PATH_INFO"], self._recorder)
        account.understood(request)
        account.begins()
        body = answer.body.content if isinstance(answer.body, BytesBody) else b""
        start_response("200 OK", [*API.items(), *answer.http_headers().items(), ("Cache-Status", answer.cache)])
        account.answered(answer, len(body), None)
        return [body]

    def _known(self, request: Request) -> Answer | None:
        try:
            return self._remembered(request)
        except RegistryError:  # the long way tells it
            return None


def _plain_question(environ: dict[str, Any]) -> Request | None:
    method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
    if method not in ("GET", "HEAD") or environ.get("QUERY_STRING") or f"/{Kind.MANIFEST}/" not in path:
        return None
    if any(name in environ for name in _LONG_WAY):
        return None
    try:
        route = parse(path)
    except RegistryError:
        return None
    return Request(route, method) if route.kind is Kind.MANIFEST else None
