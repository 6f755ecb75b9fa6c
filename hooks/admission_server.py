"""`python -m hooks.admission_server`: admission under gunicorn, over TLS, apart from the hooks: their large bodies
would keep pods waiting."""

import logging
import os
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from flask import Flask

from hooks.admission_app import Judge, create_app
from hooks.asking import PATIENCE, Asking
from hooks.certificate import SERVED, SERVED_KEY
from hooks.containers import Obstacle
from hooks.directory import Directory
from hooks.facts import Access, Settings
from hooks.metrics import AdmissionMetrics
from hooks.observe import settings_from
from hooks.own_secrets import CAPABILITY, REGISTRY, TOKEN, OwnSecrets, new_capability, new_registry_tokens, new_token
from hooks.server import Server, gunicorn_options
from hooks.shield import Shield
from hooks.telemetry import Telemetry, option
from hooks.tls import NoCertificate, Served
from kube.client import Api, KubernetesError
from registry.reference import Reference
from telemetry.address import TelemetryAddress
from telemetry.health import Check

_AGAIN = 30.0
_SOON = 2.0
_log = logging.getLogger(__name__)


@dataclass
class Keys:
    """The secrets that admission needs, read again and again; the certificate is renewed on the way."""

    secrets: OwnSecrets
    served: Served
    names: Sequence[str]
    files: tuple[Path, Path] | None = None
    """Certificate and key (PEM) given as files, which somebody else renews."""
    token: str = field(default="", repr=False)
    key: bytes = field(default=b"", repr=False)

    def read(self) -> None:
        """Read, and make what is not there; raises KubernetesError, NoCertificate and OSError."""
        if self.files:
            shown = {SERVED: self.files[0].read_bytes(), SERVED_KEY: self.files[1].read_bytes()}
        else:
            shown = dict(self.secrets.certificate(self.names))
        if self.served.show(shown):
            _log.info("serving another certificate")
        self.token = self.secrets.ensure(TOKEN, new_token).get("token", b"").decode("ascii", "ignore").strip()
        self.key = self.secrets.ensure(CAPABILITY, new_capability).get("current", b"").strip()
        self.secrets.ensure(REGISTRY, new_registry_tokens)  # for others: proxies, copy Jobs and the registry itself

    def run(self) -> None:
        """Read for as long as the process lives."""
        while True:
            pause = _AGAIN
            try:
                self.read()
            except (KubernetesError, NoCertificate, OSError) as error:
                _log.warning("reading certificate and keys: %s", error)
                pause = _SOON
            threading.Event().wait(pause)


def _application(
    api: Callable[[], Api], namespace: str, keys: Callable[[Api], Keys], settings: Settings, told: Telemetry
) -> Flask:
    """Everything that runs beside the requests, started in the worker, and the application."""
    ours = api()
    directory = Directory(ours, namespace).start()
    held = keys(ours)
    threading.Thread(target=held.run, daemon=True, name="keys").start()
    url = os.environ.get("KUIK_SHIELD_URL", "")

    def ask(reference: Reference) -> Access:
        return Shield(url, held.token, timeout=PATIENCE).access(reference)

    judge = Judge(settings, directory, Asking(ask if url else None), lambda: held.key)
    told.health.check("cluster", lambda: Check(directory.synced, message="" if directory.synced else "not read yet"))
    told.health.check("certificate", lambda: Check(held.served.ready, message="" if held.served.ready else "none yet"))
    told.health.check("proxies", lambda: _proxies(directory.unfit))
    counted = AdmissionMetrics(told.registry, lambda: directory.unfit is None)
    return create_app(judge, lambda: directory.synced and held.served.ready, counted)


def _proxies(unfit: Obstacle | None) -> Check:
    """Unfit proxies make admission leave pods alone, which it does well."""
    return Check(degraded=unfit is not None, message=f"pods are left alone: {unfit.message}" if unfit else "")


@click.command()
@click.option("--listen", default="127.0.0.1:10250", show_default=True, envvar="KUIK_LISTEN", help="host:port")
@click.option("--threads", default=8, show_default=True, envvar="KUIK_THREADS", type=click.IntRange(1, 128))
@click.option("--kubeconfig", type=click.Path(exists=True, dir_okay=False), help="Instead of the pod's own account.")
@click.option("--name", "extra", multiple=True, help="Another name or address that the certificate is for. Repeatable.")
@click.option("--tls-files", "files", nargs=2, type=click.Path(path_type=Path), help="CERTIFICATE KEY: not ours.")
@click.option(
    "--log-level",
    default="info",
    show_default=True,
    envvar="KUIK_LOG_LEVEL",
    type=click.Choice(["debug", "info", "warning", "error"]),
)
@option("127.0.0.1:10251")
def main(  # noqa: PLR0913, PLR0917  one parameter for each option
    listen: str,
    threads: int,
    kubeconfig: str | None,
    extra: tuple[str, ...],
    files: tuple[Path, Path] | None,
    log_level: str,
    address: TelemetryAddress | None,
) -> None:
    """Answer the API server's admission webhook."""
    try:
        settings = settings_from(os.environ)
        if os.environ.get("KUIK_SHIELD_URL"):
            Shield(os.environ["KUIK_SHIELD_URL"])
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    logging.basicConfig(level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    namespace, served = settings.job.namespace, Served()
    service = f"kuik-admission.{namespace}"
    told = Telemetry("admission", address)
    names = [f"{service}.svc", service, f"{service}.svc.cluster.local", *extra]

    def load() -> Flask:
        def api() -> Api:
            return Api.from_kubeconfig(kubeconfig) if kubeconfig else Api.in_cluster()

        told.start()
        return _application(
            api, namespace, lambda ours: Keys(OwnSecrets(ours, namespace), served, names, files), settings, told
        )

    def context(_config: Any, _usual: Any) -> ssl.SSLContext:
        return served.context

    tls = {"certfile": os.devnull, "ssl_context": context}  # a file has to be named for gunicorn to speak TLS
    Server(load, gunicorn_options("kuik-admission", listen, 1, threads, log_level) | tls).tell(told.health).run()


if __name__ == "__main__":
    main()
