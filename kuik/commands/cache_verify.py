"""`kuik cache verify`: whether every byte of a store is what its digest says."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from kuik.commands.held import open_store
from kuik.commands.options import store_option
from kuik.commands.output import output_option, plain_table, show
from registry.digest import Digest
from registry.errors import Corrupt, NotFound, RegistryError
from registry.layout import Layout
from registry.proof import Damage, Heard, prove, put_aside

_COLUMNS = ("BLOB", "PROBLEM", "IMAGES")


@click.command(
    epilog="""\b
Examples:
  kuik cache verify --store ~/images
  kuik cache verify --store ~/images -o json"""
)
@store_option(exists=True)
@output_option
def verify(store: Path, output: str) -> None:
    """Hash every blob of a store again, and put aside those that are damaged: the next `kuik run` copies them anew.

    Exits with 1 when something is damaged, or lacking. What was put aside stays in blobs.damaged for a day, until
    `kuik cache gc`. In a cluster the keepers do so by themselves.
    """
    layout = open_store(store).layout
    try:
        images = _images(layout)
        damaged = {one.digest: one for one in _damaged(layout)}
    except (RegistryError, OSError) as error:
        raise click.ClickException(str(error)) from error
    lacking = [Damage(digest, "is not in the store") for digest in images.lacking if digest not in damaged]
    rows = [_row(one, images.users) for one in (*damaged.values(), *lacking)]
    if rows or output != "table":
        show(rows, output, lambda: plain_table(_COLUMNS, (_columns(row) for row in rows)))
    sys.exit(1 if rows else 0)


def _damaged(layout: Layout) -> list[Damage]:
    """What is wrong, put aside."""
    found = []
    sizes = {digest: layout.blobs.size(digest) or 0 for digest in sorted(layout.blobs.digests())}
    with _bar(sum(sizes.values())) as heard:
        for digest in sizes:
            damage = prove(layout.blobs, digest, heard)
            if damage and put_aside(layout.blobs, damage):
                found.append(damage)
    click.echo(f"hashed {decimal(sum(sizes.values()))} in {len(sizes)} blobs; {len(found)} are damaged", err=True)
    return found


@dataclass
class _Images:
    """The images that each blob belongs to, by name, and the blobs that are not there."""

    users: dict[Digest, list[str]] = field(default_factory=dict)
    lacking: dict[Digest, None] = field(default_factory=dict)


def _images(layout: Layout) -> _Images:
    """What the names of a store lead to. Manifests that are not here may have been left out on purpose."""
    found = _Images()
    for reference, root in sorted(layout.references().items()):
        parts = {root.digest: None}
        try:
            whole = layout.parts(reference)
        except NotFound:
            found.lacking[root.digest] = None
        except Corrupt:  # found when it is hashed
            pass
        else:
            parts |= dict.fromkeys((*(one.digest for one in whole.manifests), *(one.digest for one in whole.blobs)))
            found.lacking |= dict.fromkeys(layout.lacking(whole.blobs))
        for digest in parts:
            found.users.setdefault(digest, []).append(str(reference))
    return found


def _row(damage: Damage, users: Mapping[Digest, list[str]]) -> dict[str, Any]:
    return {"blob": str(damage.digest), "problem": damage.problem, "images": users.get(damage.digest, [])}


def _columns(row: Mapping[str, Any]) -> tuple[str, ...]:
    images = row["images"]
    others = f" +{len(images) - 1}" if len(images) > 1 else ""
    return row["blob"], row["problem"], f"{images[0]}{others}" if images else "-"


@contextmanager
def _bar(total: int) -> Iterator[Heard]:
    """A bar on standard error where that is a terminal."""
    columns = (TextColumn("hashing"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task("", total=total)
        yield lambda count: bars.advance(task, count)
