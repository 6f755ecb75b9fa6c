"""What is kept, in a store on disk or in a cluster, for the commands that show it and take it away."""

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.filesize import decimal

from kube.types import part
from kuik.commands.cluster import listed
from kuik.local.spool import open_spool
from kuik.local.store import Held, Store, StoreBusy
from registry.errors import RegistryError

if TYPE_CHECKING:
    from kube.client import Api

OTHERWISE = "give --store DIR for a store on disk"
"""What somebody may have meant who has no cluster."""


def open_store(folder: Path) -> Store:
    """The store in a folder; what is none ends the command with words."""
    try:
        return Store(folder)
    except (RegistryError, OSError) as error:
        raise click.ClickException(f"{folder}: {error}") from error


def in_cluster(api: "Api") -> list[Held]:
    """Every image of a cluster that has a CachedImage, by name; raises KubernetesError."""
    found = [(str(part(one, "spec").get("image")), one) for one in listed(api, "CachedImage")]
    return [Held(image, one, None) for image, one in sorted(found, key=lambda pair: pair[0])]


def collect(store: Store) -> None:
    """Delete what no image needs any more, and say what that freed."""
    try:
        collected = store.layout.collect()
    except RegistryError as error:
        raise click.ClickException(str(error)) from error
    freed = collected.bytes + _clear_spool(store)
    click.echo(f"freed {decimal(freed)}; {collected.blobs} blobs went from the store", err=True)


def _clear_spool(store: Store) -> int:
    """What passed through but was not kept goes too, unless a `kuik run` uses it; the bytes freed."""
    with suppress(StoreBusy), store.running():
        return open_spool(store.folder, sys.maxsize).clear()
    return 0
