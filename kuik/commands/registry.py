"""`kuik registry`: whether a registry can hold kuik's copies."""

import os
import sys
from collections.abc import Sequence

import click

from kuik.keeper.check import findings
from registry.credentials import InvalidDockerConfig


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
    try:
        found = findings(url, reader, os.environ)
    except InvalidDockerConfig as error:
        raise click.ClickException(str(error)) from error
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    fails = False
    for finding in found:
        click.echo(str(finding))
        fails |= finding.fails
    sys.exit(1 if fails else 0)
