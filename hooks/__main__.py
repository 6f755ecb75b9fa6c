"""`python -m hooks`: the hooks under gunicorn. Admission is a process of its own, hooks.admission_server."""

import logging
import os
from typing import Any

import click
from flask import Flask

from hooks.app import RECORDER, create_app
from hooks.directory import PROXIES
from hooks.last_look import look, lost
from hooks.metrics import HookMetrics
from hooks.observe import InvalidSetting, Observer, Sight, settings_from
from hooks.own_secrets import TOKEN, OwnSecrets, new_token
from hooks.record import HookRecorder
from hooks.server import Server, gunicorn_options
from hooks.telemetry import Telemetry, option
from kube.client import Api, KubernetesError
from kube.events import Recorder
from telemetry.address import TelemetryAddress

_LAST_EVENTS = 5.0  # seconds, of the pod's grace


@click.command()
@click.option("--listen", default="127.0.0.1:8080", show_default=True, envvar="KUIK_LISTEN", help="host:port")
@click.option("--workers", default=1, show_default=True, envvar="KUIK_WORKERS", type=click.IntRange(1, 16))
@click.option("--threads", default=8, show_default=True, envvar="KUIK_THREADS", type=click.IntRange(1, 128))
@click.option("--tls-cert", envvar="KUIK_TLS_CERT", type=click.Path(exists=True, dir_okay=False), help="PEM file")
@click.option("--tls-key", envvar="KUIK_TLS_KEY", type=click.Path(exists=True, dir_okay=False), help="PEM file")
@click.option(
    "--log-level",
    default="info",
    show_default=True,
    envvar="KUIK_LOG_LEVEL",
    type=click.Choice(["debug", "info", "warning", "error"]),
)
@option("127.0.0.1:8081")
def main(  # noqa: PLR0913, PLR0917  one parameter for each option
    listen: str,
    workers: int,
    threads: int,
    tls_cert: str | None,
    tls_key: str | None,
    log_level: str,
    address: TelemetryAddress | None,
) -> None:
    """Answer Metacontroller's hooks."""
    if bool(tls_cert) != bool(tls_key):
        raise click.UsageError("--tls-cert and --tls-key belong together")
    try:
        _wants_events()
        Observer.from_environment(os.environ)
    except InvalidSetting as error:
        raise click.UsageError(str(error)) from error
    # gunicorn's own lines have their own handler.
    logging.basicConfig(level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    options = gunicorn_options("kuik-hooks", listen, workers, threads, log_level)
    files = {"certfile": tls_cert, "keyfile": tls_key}
    told = Telemetry("hooks", address if workers == 1 else None)  # the numbers of one worker of several would mislead

    def load() -> Flask:
        told.start()
        return _application(HookMetrics(told.registry))

    Server(load, options | files | {"worker_exit": _write_the_last_events}).tell(told.health).run()


def _write_the_last_events(_arbiter: object, worker: Any) -> None:
    """What was said in the last requests is written before the process ends; requests have ended by now."""
    recorder = worker.wsgi.config.get(RECORDER) if getattr(worker, "wsgi", None) is not None else None
    lost = recorder.flush(_LAST_EVENTS) if recorder else 0
    if lost:
        logging.getLogger(__name__).warning("%d Events are lost: the API server is slow", lost)


def _application(counted: HookRecorder) -> Flask:
    """With the API server at hand where this is a pod, or where KUIK_KUBECONFIG names one."""
    path = os.environ.get("KUIK_KUBECONFIG")
    if not path and "KUBERNETES_SERVICE_HOST" not in os.environ:
        return create_app(Observer.from_environment(os.environ), counted=counted)
    api = Api.from_kubeconfig(path) if path else Api.in_cluster()
    settings = settings_from(os.environ)
    own = OwnSecrets(api, settings.job.namespace)
    environment = dict(os.environ)
    if not environment.get("KUIK_TOKEN"):
        try:
            environment["KUIK_TOKEN"] = own.ensure(TOKEN, new_token).get("token", b"").decode("ascii", "ignore").strip()
        except KubernetesError as error:
            logging.getLogger(__name__).warning("the shield is asked without a token: %s", error)
    sight = Sight(
        own.authority, lambda: look(api, settings.proxy), lambda: lost(api, settings.job.namespace, PROXIES), own.key
    )
    return create_app(
        Observer.from_environment(environment, sight), Recorder(api) if _wants_events() else None, counted
    )


def _wants_events() -> bool:
    """Whether KUIK_EVENTS, on by default, is on; raises InvalidSetting."""
    said = os.environ.get("KUIK_EVENTS", "on")
    if said not in ("on", "off"):
        raise InvalidSetting(f"KUIK_EVENTS={said!r}: write on or off")
    return said == "on"


if __name__ == "__main__":
    main()
