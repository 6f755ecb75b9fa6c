"""Options that several commands take, and the checks of what is given for them."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from registry.manifest import Platform
from registry.reference import is_host

_RETENTION = re.compile(r"[0-9]{1,6}[smhdw]")
_LISTEN = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:]+)\]|(?P<host>[^:]*)):(?P<port>\d{1,5})")

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def store_option(*, exists: bool) -> Decorator:
    """The folder that images are kept in."""
    folder = click.Path(path_type=Path, file_okay=False, exists=exists)
    return click.option("--store", required=True, type=folder, help="The folder that images are kept in.")


other_store_option = click.option(
    "--store",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="A store on disk, in place of the cluster.",
)


def hosts(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> frozenset[str]:
    """Registry hosts, in lower case as references have them."""
    for value in values:
        if not is_host(value):
            raise click.BadParameter(f"{value!r} is not a registry's host or host:port")
    return frozenset(value.lower() for value in values)


def platforms(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Platforms in their normal form."""
    try:
        return tuple(str(Platform.parse(value)) for value in values)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def retention(_context: click.Context, _option: click.Parameter, value: str) -> str:
    """A duration as ImageCaches take it."""
    if value and not _RETENTION.fullmatch(value):
        raise click.BadParameter(f"{value!r} is not a number and one of s, m, h, d, w, such as 30d")
    return value


def listen(_context: click.Context, _option: click.Parameter, value: str) -> tuple[str, int]:
    """An address to listen on, as host and port."""
    found = _LISTEN.fullmatch(value)
    if not found or not 0 < int(found["port"]) < 65536:
        raise click.BadParameter(f"{value!r} is not HOST:PORT")
    return found["v6"] or found["host"] or "0.0.0.0", int(found["port"])  # noqa: S104 - `:7439` asks for every address


plain_http_option = click.option(
    "--plain-http", multiple=True, metavar="HOST:PORT", callback=hosts, help="A registry without TLS; repeatable."
)

platform_option = click.option(
    "--platform", metavar="OS/ARCH", multiple=True, callback=platforms, help="Only this platform; repeatable."
)

inventory_option = click.option(
    "--inventory",
    "inventory_file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A file of `kuik policy inventory`, in place of the cluster.",
)
