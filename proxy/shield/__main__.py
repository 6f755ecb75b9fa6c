"""`python -m proxy.shield`: the origin shield."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from wsgiref.types import WSGIApplication

from kube.client import Api
from proxy import names as naming
from proxy.health import Heard
from proxy.names import Names
from proxy.server import THREADS, Server
from proxy.settings import quantity, read_token
from proxy.shield.app import create_app
from proxy.shield.asking import Asking
from proxy.shield.cluster import Following
from proxy.shield.metrics import tell
from proxy.shield.origin import Opened, Shield
from proxy.shield.pull_secrets import PullSecrets
from proxy.shield.remembered import Remembered
from proxy.shield.savings import Savings
from proxy.shield.spool import Spool
from proxy.telemetry import Telemetry, add_options, of_options
from registry.blobs import BlobFolder
from registry.client import Client
from registry.transport import host_settings
from telemetry import logs


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
    options.add_argument(
        "--freshness", type=float, metavar="SECONDS", help="instead of what the ImageCache says; without one 60"
    )
    account = options.add_mutually_exclusive_group()
    account.add_argument(
        "--in-cluster",
        action="store_true",
        help="follow the ImageCache's settings and pinned tags, and serve private images by their pods' pull secrets",
    )
    account.add_argument("--kubeconfig", metavar="FILE", help="likewise, outside of a cluster")
    options.add_argument("--threads", type=int, default=THREADS)
    naming.add_options(options)
    add_options(options, "127.0.0.1:7442")
    return options


def build(options: argparse.Namespace, shared: str, told: Telemetry, names: Names | None = None) -> WSGIApplication:
    """The application that the options describe."""
    api = _api(options)
    asking = _asking(options, told, api, names)
    rules, opened, size = asking.rules(), None, options.spool_size
    if options.freshness is not None:
        rules = replace(rules, freshness=lambda: options.freshness)
    if api:
        size //= 2
        opened = _opened(api, asking, Spool(BlobFolder(options.spool / "private" / "blobs"), size), options.spool, told)
    spool = Spool(BlobFolder(options.spool / "blobs"), size)
    rules = replace(rules, remembered=Remembered(options.spool / "tags.json").start())
    shield = Shield(Client(asking.transport()), spool, rules, opened=opened)
    tell(told, shield)
    savings = Savings(options.spool / "savings.json", told.fetched).start()
    return create_app(shield, shared, told.recorder, savings)


def _api(options: argparse.Namespace) -> Api | None:
    if options.in_cluster:
        return Api.in_cluster()
    return Api.from_kubeconfig(options.kubeconfig) if options.kubeconfig else None


def _asking(options: argparse.Namespace, told: Telemetry, api: Api | None, names: Names | None) -> Asking:
    """How registries are asked; begins to watch what the cluster says of that."""
    base = host_settings(options.plain_http)
    if api is None:
        return Asking(base=base, watcher=told.upstream, addresses=names)
    following = Following(api).start()
    told.health.check("settings", Heard(lambda: following.synced, "the ImageCache's defaults count").check)
    return Asking(following.settings, base, following.pinned, watcher=told.upstream, addresses=names)


def _opened(api: Api, asking: Asking, spool: Spool, folder: Path, told: Telemetry) -> Opened:
    """What private images are asked for with; begins to watch which secrets are in use."""
    secrets = PullSecrets(api).start()
    told.health.check("pull secrets", Heard(lambda: secrets.synced, "private images cannot be opened").check)
    client = Client(asking.transport(), secrets.keyring, secrets.renew)
    owners = folder / "private" / "owners"
    return Opened(client, spool, owners, secrets, asking.mirrors(secrets.mirror_keyring))


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until told to stop."""
    options = parser().parse_args(arguments)
    logs.set_up(options.log_level, options.log_format)
    shared = read_token(options.token_file)
    if not shared:
        parser().error("the shield needs a token: --token-file FILE or the variable KUIK_TOKEN")
    binds = options.listen or ["127.0.0.1:7440"]
    told = of_options("shield", options)
    names = naming.of_options(options)

    def load() -> WSGIApplication:
        told.start()
        if names:
            names.start()
        return build(options, shared, told, names)

    Server(binds, load, threads=options.threads).tell(told.health).run()


if __name__ == "__main__":
    main()
