"""`kuik cache`: what a store holds, and the explicit ways to make it hold less."""

import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.filesize import decimal

from kuik.commands.cache_export import export
from kuik.commands.cache_import import import_
from kuik.commands.options import store_option
from kuik.commands.output import output_option, plain_table, show
from kuik.local.server import open_spool
from kuik.local.store import Held, Store, StoreBusy, forget, held
from registry.errors import RegistryError
from registry.reference import InvalidReference, Reference


@click.group()
def cache() -> None:
    """See and clean up the images that are kept, and carry them over an air gap."""


cache.add_command(export)
cache.add_command(import_)


@cache.command("list", epilog="Example: kuik cache list --store ~/images -o json")
@store_option(exists=True)
@output_option
def list_(store: Path, output: str) -> None:
    """List the images of a store."""
    found = held(_open(store))
    now = datetime.now(UTC)
    show(
        [_row(one) for one in found],
        output,
        lambda: plain_table(
            ("IMAGE", "PHASE", "SIZE", "USED-BY", "AGE", "REASON"), (_columns(one, now) for one in found)
        ),
    )


@cache.command(epilog="Example: kuik cache remove nginx:1.25 --store ~/images")
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@store_option(exists=True)
@click.option("--force", is_flag=True, help="Remove it even while a workload uses it.")
def remove(images: tuple[str, ...], store: Path, force: bool) -> None:
    """Remove images and give their space back.

    An image that a workload uses stays, unless --force is given; a `kuik run` on this store caches it again.
    """
    opened = _open(store)
    found = {one.image: one for one in held(opened)}
    chosen = [_choose(image, found, force) for image in images]
    for one in chosen:
        forget(opened, one)
        click.echo(f"removed {one.image}")
    _collect(opened)


@cache.command(epilog="Example: kuik cache gc --store ~/images")
@store_option(exists=True)
def gc(store: Path) -> None:
    """Delete the blobs that no image of the store needs any more."""
    _collect(_open(store))


def _open(folder: Path) -> Store:
    try:
        return Store(folder)
    except (RegistryError, OSError) as error:
        raise click.ClickException(f"{folder}: {error}") from error


def _choose(image: str, found: dict[str, Held], force: bool) -> Held:
    try:
        name = str(Reference.parse(image).identity)
    except InvalidReference as error:
        raise click.BadParameter(str(error), param_hint="IMAGE") from error
    one = found.get(name)
    if one is None:
        raise click.ClickException(f"{name} is not in the store; `kuik cache list` shows what is")
    if one.used_by and not force:
        users = ", ".join(one.used_by)
        raise click.ClickException(f"{name} is used by {users}; give --force to remove it all the same")
    return one


def _collect(store: Store) -> None:
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


def _row(one: Held) -> dict[str, Any]:
    spec = (one.cached_image or {}).get("spec", {})
    digest = one.status.get("digest") or (str(one.descriptor.digest) if one.descriptor else None)
    return {
        "image": one.image,
        "phase": one.phase,
        "digest": digest,
        "size": one.status.get("size"),
        "usedBy": list(one.used_by),
        "unusedSince": spec.get("unusedSince"),
        "reason": one.status.get("reason"),
        "message": one.status.get("message"),
    }


def _columns(one: Held, now: datetime) -> tuple[str, ...]:
    size = one.status.get("size")
    created = (one.cached_image or {}).get("metadata", {}).get("creationTimestamp")
    users = one.used_by[0] + (f" +{len(one.used_by) - 1}" if len(one.used_by) > 1 else "") if one.used_by else "-"
    return (
        one.image,
        one.phase,
        decimal(int(size)) if size is not None else "-",
        users,
        _age(created, now) if created else "-",
        str(one.status.get("reason") or "-"),
    )


def _age(created: str, now: datetime) -> str:
    """An age as kubectl prints it."""
    seconds = int((now - datetime.fromisoformat(created)).total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length}{unit}"
    return f"{max(seconds, 0)}s"
