"""`python -m proxy`: the node proxy."""

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit
from wsgiref.types import WSGIApplication

from proxy import names as naming
from proxy.app import create_app
from proxy.capabilities import KeyFiles, no_keys
from proxy.chain import Chain
from proxy.handover import Worker, listening
from proxy.memory import keep_little
from proxy.names import Names
from proxy.savings import Reporter
from proxy.server import THREADS, Server
from proxy.settings import TIMEOUTS, read_token
from proxy.sources.remote import Remote
from proxy.sources.upstream import Upstream
from proxy.telemetry import Telemetry, add_options, of_options
from registry.client import Client
from registry.own_registry import own_credentials
from registry.pauses import Pauses
from registry.settings import InvalidSettings, Registries, read_registries
from registry.transport import NO_RETRIES, HostSettings, Transport, host_settings
from telemetry import logs

LISTEN, LISTEN_6 = "127.0.0.1:7439", "[::1]:7439"
DRAIN = 600.0


def parser() -> argparse.ArgumentParser:
    """The command line's options."""
    options = argparse.ArgumentParser(prog="python -m proxy", description="kuik's node proxy")
    options.add_argument("--listen", action="append", metavar="HOST:PORT", help="default: loopback, 7439")
    options.add_argument("--registry", action="append", default=[], metavar="URL", help="a registry that holds copies")
    options.add_argument("--shield", action="append", default=[], metavar="URL", help="an origin shield")
    options.add_argument("--shield-token-file", type=Path, metavar="FILE", help="or the variable KUIK_TOKEN")
    options.add_argument("--capability-keys", type=Path, metavar="DIR", help="a folder with the keys current, previous")
    options.add_argument("--plain-http", action="append", default=[], metavar="HOST:PORT", help="upstream without TLS")
    options.add_argument(
        "--registries",
        type=Path,
        metavar="FILE",
        help="how registries are asked directly: the list of an ImageCache's spec.registries, as JSON",
    )
    options.add_argument("--threads", type=int, default=THREADS)
    options.add_argument(
        "--drain", type=float, default=DRAIN, metavar="SECONDS", help="how long pulls may go on after SIGTERM"
    )
    naming.add_options(options)
    add_options(options, "127.0.0.1:7441")
    return options


def build(options: argparse.Namespace, told: Telemetry, names: Names | None = None) -> WSGIApplication:
    """The application that the options describe; raises ValueError for a URL that is none, or credentials likewise."""
    shared = read_token(options.shield_token_file)
    registries = [_remote("registry", url, names) for url in options.registry]
    registries = [replace(one, credentials=own_credentials(one.host, os.environ)) for one in registries]
    shields = [replace(_remote("shield", url, names), token=shared, tells_freshness=True) for url in options.shield]
    hosts = host_settings(options.plain_http)
    if options.registries:
        hosts = _registries(options.registries).hosts(hosts)
    direct = Transport(
        hosts, timeouts=TIMEOUTS, retries=NO_RETRIES, watcher=told.upstream, pauses=Pauses(), addresses=names
    )
    keys = KeyFiles(options.capability_keys) if options.capability_keys else no_keys
    chain = Chain(registries, shields, [Upstream(Client(direct))])
    servers = [one.server for one in (*registries, *shields)]
    told.breakers(chain.breakers, servers)
    told.damage(chain.suspicion, servers)
    return create_app(chain, keys, told.recorder)


def _registries(file: Path) -> Registries:
    """Settings for when there is no shield to ask: an own CA and an egress proxy are needed then too."""
    written = json.loads(file.read_text())
    if not isinstance(written, list):
        raise InvalidSettings(f"{file}: is not a list of registries")
    return read_registries(written)


def _remote(name: str, url: str, names: Names | None) -> Remote:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.path not in ("", "/"):
        raise ValueError(f"--{name} {url!r}: write it as http://host:port or https://host:port")
    settings = HostSettings(plain_http=parts.scheme == "http")
    transport = Transport(lambda _host: settings, timeouts=TIMEOUTS, retries=NO_RETRIES, addresses=names)
    return Remote(name, parts.netloc, transport)


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until told to stop."""
    options = parser().parse_args(arguments)
    logs.set_up(options.log_level, options.log_format)
    keep_little()
    try:
        build(options, Telemetry("proxy"))  # all that takes time to load is there before the port is taken
        sockets = listening(options.listen) if options.listen else listening([LISTEN], optional=[LISTEN_6])
    except (ValueError, OSError) as error:
        parser().error(str(error))
    told = of_options("proxy", options)

    names = naming.of_options(options, [str(urlsplit(url).hostname) for url in (*options.registry, *options.shield)])

    def load() -> WSGIApplication:
        told.start()
        if names:
            names.start()
        Reporter(options.shield, read_token(options.shield_token_file), told.served, names).start()
        return build(options, told, names)

    settings = {"threads": options.threads, "graceful_timeout": int(options.drain), "worker_class": Worker}
    Server([f"fd://{number}" for number in sockets], load, **settings).tell(told.health).run()


if __name__ == "__main__":
    main()
