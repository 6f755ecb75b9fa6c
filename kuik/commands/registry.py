"""`kuik registry`: whether a registry can hold kuik's copies."""

import os
import sys
from collections.abc import Sequence
from urllib.parse import urlsplit

import click

from kuik import __version__
from registry.credentials import InvalidDockerConfig
from registry.fitness import Place
from registry.fitness import check as find_out
from registry.own_registry import own_credentials
from registry.transport import NO_RETRIES, Transport, host_settings

READERS_TOKEN = "KUIK_READER_TOKEN"  # noqa: S105  the variable's name


@click.group()
def registry() -> None:
    """Look at the registry that holds a cluster's copies."""


@registry.command(
    epilog="""\b
Examples:
  KUIK_REGISTRY_TOKEN=... kuik registry check http://kuik-registry:5000
  KUIK_REGISTRY_CREDENTIALS=config.json kuik registry check https://harbor.example"""
)
@click.argument("url")
@click.option("--reader", multiple=True, metavar="URL", help="Where node proxies read, if not at URL; repeatable.")
def check(url: str, reader: Sequence[str]) -> None:
    """Find out whether the registry at URL is what kuik needs, by pushing a tiny image to it.

    The variables KUIK_REGISTRY_TOKEN or KUIK_REGISTRY_CREDENTIALS say what to show to it, as for kuik's components;
    KUIK_READER_TOKEN what to show to readers, where that differs. Exits with 1 where something is not met that kuik
    cannot do without.
    """
    environment = dict(os.environ)
    for_readers = {
        **environment,
        "KUIK_REGISTRY_TOKEN": environment.get(READERS_TOKEN) or environment.get("KUIK_REGISTRY_TOKEN", ""),
    }
    try:
        writer = Place(_host(url), own_credentials(_host(url), environment))
        readers = [Place(_host(one), own_credentials(_host(one), for_readers)) for one in reader]
    except InvalidDockerConfig as error:
        raise click.ClickException(str(error)) from error
    plain = [_host(one) for one in (url, *reader) if one.startswith("http://")]
    transport = Transport(host_settings(plain), retries=NO_RETRIES, user_agent=f"kuik/{__version__}")
    fails = False
    for finding in find_out(transport, writer, readers):
        click.echo(str(finding))
        fails |= finding.fails
    sys.exit(1 if fails else 0)


def _host(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.path not in ("", "/"):
        raise click.UsageError(f"{url!r} is not a URL such as https://registry.example:5000")
    return parts.netloc
