"""The node proxy's WSGI application."""

from flask import Flask

from proxy.capabilities import Keys, check, discreet, no_keys
from proxy.chain import Chain
from proxy.exchange import serve_v2
from proxy.quick import Quick
from proxy.record import SILENT, Recorder
from proxy.sources.message import Answer, Request
from registry.errors import NotFound, Unauthorized


def create_app(chain: Chain, keys: Keys = no_keys, recorder: Recorder = SILENT) -> Flask:
    """The distribution API, read-only, over a chain of sources; safe to call after a fork, starts nothing.

    `keys` gives the keys of capabilities, which open what is private.
    """
    app = Flask("proxy", static_folder=None)

    def fetch(request: Request) -> Answer:
        check(request.route, keys)
        try:
            return chain.fetch(request)
        except (Unauthorized, NotFound) as error:
            raise discreet(error, request.route) from error

    def remembered(request: Request) -> Answer | None:
        check(request.route, keys)
        return chain.remembered(request)

    serve_v2(app, fetch, recorder)
    app.wsgi_app = Quick(app.wsgi_app, remembered, recorder)  # type: ignore[method-assign]  # Flask's own advice
    return app
