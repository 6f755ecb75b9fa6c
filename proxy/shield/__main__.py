"""`python -m proxy.shield`: the origin shield."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from wsgiref.types import WSGIApplication

from kube.client import Api
from proxy.server import THREADS, Server
from proxy.settings import TIMEOUTS, log_to_stderr, quantity, read_token
from proxy.shield.app import create_app
from proxy.shield.freshness import DEFAULT_FRESHNESS
from proxy.shield.metrics import tell
from proxy.shield.origin import Opened, Rules, Shield
from proxy.shield.pull_secrets import PullSecrets
from proxy.shield.spool import Spool
from proxy.telemetry import Telemetry, add_option, of_options
from registry.blobs import BlobFolder
from registry.client import Client
from registry.pauses import Pauses
from registry.transport import Retries, Transport, host_settings


def parser() -> argparse.ArgumentParser:
    """The command line's options."""
    options = argparse.ArgumentParser(prog="python -m proxy.shield", description="kuik's origin shield")
    options.add_argument("--listen", action="append", metavar="HOST:PORT", help="default 127.0.0.1:7440")
    options.add_argument("--spool", type=Path, required=True, metavar="DIR")
    options.add_argument(
        "--spool-size",
        type=quantity,
        default=quantity("10Gi"),
        metavar="BYTES",
        help="such as 20Gi; private images have half",
    )
    options.add_argument("--token-file", type=Path, metavar="FILE", help="or the variable KUIK_TOKEN")
    options.add_argument("--plain-http", action="append", default=[], metavar="HOST:PORT", help="upstream without TLS")
    options.add_argument("--freshness", type=float, default=DEFAULT_FRESHNESS, metavar="SECONDS")
    account = options.add_mutually_exclusive_group()
    account.add_argument("--in-cluster", action="store_true", help="serve private images by their pods' pull secrets")
    account.add_argument("--kubeconfig", metavar="FILE", help="likewise, outside of a cluster")
    options.add_argument("--threads", type=int, default=THREADS)
    add_option(options, "127.0.0.1:7442")
    return options


def build(options: argparse.Namespace, shared: str, told: Telemetry) -> WSGIApplication:
    """The application that the options describe."""
    transport = Transport(
        host_settings(options.plain_http),
        timeouts=TIMEOUTS,
        retries=Retries(attempts=2),
        pauses=Pauses(),
        watcher=told.upstream,
    )
    rules, opened, size = Rules(lambda: options.freshness), None, options.spool_size
    if options.in_cluster or options.kubeconfig:
        size //= 2
        opened = _opened(options, transport, Spool(BlobFolder(options.spool / "private" / "blobs"), size))
    spool = Spool(BlobFolder(options.spool / "blobs"), size)
    shield = Shield(Client(transport), spool, rules, opened=opened)
    tell(told, shield)
    return create_app(shield, shared, told.metrics)


def _opened(options: argparse.Namespace, transport: Transport, spool: Spool) -> Opened:
    """What private images are asked for with; begins to watch which secrets are in use."""
    api = Api.in_cluster() if options.in_cluster else Api.from_kubeconfig(options.kubeconfig)
    secrets = PullSecrets(api).start()
    client = Client(transport, secrets.keyring, secrets.renew)
    return Opened(client, spool, options.spool / "private" / "owners", secrets)


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until told to stop."""
    options = parser().parse_args(arguments)
    log_to_stderr()
    shared = read_token(options.token_file)
    if not shared:
        parser().error("the shield needs a token: --token-file FILE or the variable KUIK_TOKEN")
    binds = options.listen or ["127.0.0.1:7440"]
    told = of_options("shield", options)

    def load() -> WSGIApplication:
        told.start()
        return build(options, shared, told)

    Server(binds, load, threads=options.threads).tell(told.health).run()


if __name__ == "__main__":
    main()
