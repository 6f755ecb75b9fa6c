"""The shield's WSGI application: the distribution API and the facts endpoint, for callers who know the token."""

import hmac
from collections.abc import Callable, Mapping
from typing import Any

from flask import Flask, Response, jsonify, request

from proxy.errors import Denied, NameInvalid, NameUnknown, ReportInvalid
from proxy.exchange import error_response, serve_v2
from proxy.record import SILENT, Recorder
from proxy.savings import MAX_BODY, SERVED, Report
from proxy.shield.origin import Shield
from proxy.shield.savings import Savings
from proxy.sources.message import Answer, Request
from registry.errors import NotFound
from registry.reference import InvalidReference, Reference


def create_app(shield: Shield, token: str, recorder: Recorder = SILENT, savings: Savings | None = None) -> Flask:
    """`/v2/<host>/<repository>/...`, `/facts/access?image=REF` and `/facts/image?image=REF` over `shield`.

    Where there are `savings`, node proxies report by `POST /served`, and `/facts/savings` tells the sums.

    Every request must show the token: as Bearer, or as the password of any user, which is how a registry client that
    knows nothing of kuik shows it. An empty token is refused with ValueError.
    """
    if not token:
        raise ValueError("the shield needs a token: without one, any caller would be served")
    app = Flask("proxy.shield", static_folder=None)
    expected = token.encode()

    @app.before_request
    def check_caller() -> Response | None:
        if hmac.compare_digest(_shown().encode("utf-8", "replace"), expected):
            return None
        refusal = error_response(Denied("the shield serves kuik's own components: show their token"))
        refusal.headers["WWW-Authenticate"] = 'Basic realm="kuik shield"'
        return refusal

    @app.get("/facts/access")
    def access() -> Response:
        return _fact(lambda reference: {"access": shield.access(reference)})

    @app.get("/facts/image")
    def image() -> Response:
        return _fact(shield.facts)

    if savings:
        _count(app, savings)

    def fetch(asked: Request) -> Answer:
        if asked.route.capability:
            raise NameUnknown("the shield takes no capabilities: the node proxy checks them")
        if asked.only_cached:
            raise NotFound("the shield holds no copies, only what passed lately")
        return shield.fetch(asked)

    serve_v2(app, fetch, recorder)
    return app


def _count(app: Flask, savings: Savings) -> None:
    @app.post(SERVED)
    def served() -> Response:
        if not 0 <= (request.content_length or 0) <= MAX_BODY:
            return error_response(ReportInvalid(f"a report has at most {MAX_BODY} bytes"))
        try:
            body = request.stream.read(MAX_BODY + 1)
            savings.add(Report.read(body if len(body) <= MAX_BODY else b""))
        except ValueError as error:
            return error_response(ReportInvalid(str(error)))
        return Response(status=204)

    @app.get("/facts/savings")
    def saved() -> Response:
        return jsonify(savings.facts())


def _fact(find: Callable[[Reference], Mapping[str, Any]]) -> Response:
    try:
        reference = Reference.parse(request.args.get("image", ""))
    except InvalidReference as error:
        return error_response(NameInvalid(f"image: {error}"))
    return jsonify(image=str(reference), **find(reference))


def _shown() -> str:
    shown = request.authorization
    if shown is None:
        return ""
    return (shown.token if shown.type == "bearer" else shown.password) or ""
