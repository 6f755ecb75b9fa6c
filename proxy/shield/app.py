"""The shield's WSGI application: the distribution API and the facts endpoint, for callers who know the token."""

import hmac
from collections.abc import Callable, Mapping
from typing import Any

from flask import Flask, Response, jsonify, request

from proxy.errors import Denied, NameInvalid, NameUnknown
from proxy.exchange import error_response, serve_v2
from proxy.record import SILENT, Recorder
from proxy.shield.origin import Shield
from proxy.sources.message import Answer, Request
from registry.reference import InvalidReference, Reference


def create_app(shield: Shield, token: str, recorder: Recorder = SILENT) -> Flask:
    """`/v2/<host>/<repository>/...`, `/facts/access?image=REF` and `/facts/image?image=REF` over `shield`.

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

    def fetch(asked: Request) -> Answer:
        if asked.route.capability:
            raise NameUnknown("the shield takes no capabilities: the node proxy checks them")
        return shield.fetch(asked)

    serve_v2(app, fetch, recorder)
    return app


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
