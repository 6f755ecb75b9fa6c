"""The serving process of local mode: the node proxy over the store, with the shield behind it, under gunicorn.

It inherits its listening sockets, the feed and a lifeline from `kuik run`. The proxy and the shield share a worker, so
the shield is a source that the proxy calls directly; copies reach it by HTTP on its own port, with the token that
`kuik run` made.
"""

import argparse
import os
import socket
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication

from kuik import __version__
from kuik.lifeline import follow
from kuik.local.feed import Feed
from kuik.local.savings import Counted
from kuik.local.spool import open_spool
from proxy.app import create_app
from proxy.chain import Chain
from proxy.patience import Patient
from proxy.pulls import Pulls, Several
from proxy.server import Server
from proxy.shield.app import create_app as create_shield_app
from proxy.shield.asking import Asking
from proxy.shield.origin import Shield
from proxy.shield.remembered import Remembered
from proxy.shield.spool import Spool
from proxy.sources.stored import Stored
from registry.client import Client
from registry.layout import Layout
from registry.transport import host_settings
from registry.watching import Watcher
from telemetry import logs

TOKEN = "KUIK_SHIELD_TOKEN"  # noqa: S105 - the name of the variable
RELEASE = "/release"
"""POST here makes the shield forget what the store holds by now."""


@dataclass(frozen=True)
class Serving:
    """What the process was started with: `feed` is an inherited open file, `shield_port` the port for copies."""

    store: Path
    spool_size: int
    plain_http: frozenset[str]
    feed: int
    shield_port: int

    def app(self) -> WSGIApplication:
        """The two applications, told apart by the port that was asked."""
        layout = Layout(self.store)
        counted = Counted(self.store).start()
        shield = self._shield(counted)
        chain = Chain(stores=(Stored(layout),), shields=(Patient(shield),))
        front = create_app(chain, recorder=Several((counted, Pulls())))
        behind = create_shield_app(shield, os.environ[TOKEN])
        behind.add_url_rule(RELEASE, view_func=lambda: str(_release(shield.spool, layout)), methods=["POST"])

        def dispatch(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
            app: WSGIApplication = behind if environ["SERVER_PORT"] == str(self.shield_port) else front
            return app(environ, start_response)

        return dispatch

    def _shield(self, watcher: Watcher) -> Shield:
        agent = f"kuik/{__version__}"
        feed = Feed(self.feed)
        asking = Asking(feed.settings, host_settings(self.plain_http), feed.pinned, agent, watcher=watcher)
        # There are no tenants here: all secrets serve whoever reaches this machine's proxy.
        remembered = Remembered(self.store / "state" / "tags.json").start()
        rules = replace(asking.rules(), mirrors=asking.mirrors(feed.mirror_keyring), remembered=remembered)
        client, anonymous = Client(asking.transport(), feed.keyring), Client(asking.transport())
        return Shield(client, open_spool(self.store, self.spool_size), rules, anonymous=anonymous)


def _release(spool: Spool, layout: Layout) -> int:
    return spool.drop(digest for digest in spool.digests() if layout.blobs.size(digest) is not None)


def _port(descriptor: int) -> int:
    with socket.socket(fileno=os.dup(descriptor)) as sock:
        return int(sock.getsockname()[1])


def main(arguments: list[str]) -> None:
    """Serve until told to end."""
    parser = argparse.ArgumentParser(prog="kuik.local.server")
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--spool-size", type=int, required=True)
    parser.add_argument("--plain-http", action="append", default=[])
    parser.add_argument("--proxy", type=int)
    parser.add_argument("--verbose", action="store_true")
    for name in ("shield", "feed", "lifeline"):
        parser.add_argument(f"--{name}", type=int, required=True)
    given = parser.parse_args(arguments)
    logs.set_up("debug" if given.verbose else "warning")
    serving = Serving(given.store, given.spool_size, frozenset(given.plain_http), given.feed, _port(given.shield))
    sockets = [given.shield] + ([given.proxy] if given.proxy is not None else [])
    settings = {
        "graceful_timeout": 10,
        "loglevel": "error",  # clients that try TLS first would each leave a warning
        "post_worker_init": lambda _worker: follow(given.lifeline),
    }
    Server([f"fd://{number}" for number in sockets], serving.app, **settings).run()


if __name__ == "__main__":
    # gunicorn reads the command line too; what is there is meant for us.
    mine, sys.argv = sys.argv[1:], sys.argv[:1]
    main(mine)
