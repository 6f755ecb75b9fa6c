"""The node proxy's WSGI application."""

from flask import Flask

from proxy.chain import Chain
from proxy.exchange import serve_v2


def create_app(chain: Chain) -> Flask:
    """The distribution API, read-only, over a chain of sources; safe to call after a fork, starts nothing."""
    app = Flask("proxy", static_folder=None)
    serve_v2(app, chain.fetch)
    return app
