"""`python -m hooks`: the hooks and admission under gunicorn, until SIGTERM, which lets requests end first."""

import logging
import os
from typing import Any

import click
from flask import Flask
from gunicorn.app.base import BaseApplication

from hooks.app import create_app
from hooks.observe import InvalidSetting, Observer


class _Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn with our options instead of its own command line."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        return create_app(Observer.from_environment(os.environ))


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
def main(listen: str, workers: int, threads: int, tls_cert: str | None, tls_key: str | None, log_level: str) -> None:
    """Answer Metacontroller's hooks and the API server's admission webhook."""
    if bool(tls_cert) != bool(tls_key):
        raise click.UsageError("--tls-cert and --tls-key belong together")
    try:
        Observer.from_environment(os.environ)
    except InvalidSetting as error:
        raise click.UsageError(str(error)) from error
    # gunicorn's own lines have their own handler.
    logging.basicConfig(level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    options: dict[str, Any] = {
        "bind": [listen],
        "workers": workers,
        "threads": threads,
        "worker_class": "gthread",
        "worker_tmp_dir": "/dev/shm" if os.path.isdir("/dev/shm") else None,  # noqa: S108, PTH112 - heartbeats in memory
        "control_socket_disable": True,
        "timeout": 60,
        "graceful_timeout": 20,
        "keepalive": 75,
        "loglevel": log_level,
        "proc_name": "kuik-hooks",
        "certfile": tls_cert,
        "keyfile": tls_key,
    }
    _Server(options).run()


if __name__ == "__main__":
    main()
